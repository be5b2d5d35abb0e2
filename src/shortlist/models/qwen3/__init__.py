"""Qwen3-Reranker and Qwen3-Embedding: prompt templates, detection, and loading by the native engine and vLLM."""

from shortlist.models.qwen3.detection import detect

__all__ = ["detect"]
