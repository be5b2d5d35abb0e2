"""The native prefill-only engine for Qwen3-Reranker and Qwen3-Embedding, in PyTorch."""
