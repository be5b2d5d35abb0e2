"""The use cases: rerank, embed, and the runtime that builds what they need."""
