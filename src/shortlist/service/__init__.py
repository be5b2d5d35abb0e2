"""The operations (rerank, embed, score, explain), and the runtime that loads what they need."""
