"""The kinds of model that can be served, who reads their weights, and the published models whose kind is known by name."""

from __future__ import annotations

from enum import StrEnum

from shortlist.types import Task


class ModelKind(StrEnum):
    """What runs a model, and how its texts are framed."""

    QWEN3_RERANKER = "qwen3-reranker"
    """A causal language model asked yes or no in Qwen3-Reranker's frame; the score is the log-odds of yes."""
    QWEN3_RERANKER_HEAD = "qwen3-reranker-head"
    """The same with yes and no folded into a head of one label."""
    QWEN3_EMBEDDER = "qwen3-embedder"
    """The last token's hidden state, queries framed with an instruction."""
    CROSS_ENCODER = "cross-encoder"
    """Any other reranker that sentence-transformers loads."""
    BI_ENCODER = "bi-encoder"
    """Any other embedder that sentence-transformers loads; it can rank by cosine."""

    @property
    def tasks(self) -> frozenset[Task]:
        """What a model of this kind can be asked to do."""
        return _TASKS[self]


class Reader(StrEnum):
    """Who reads a model's weights, and so what they may be and where they have to be."""

    OURS = "ours"
    """An engine of ours, which reads none that are quantised."""
    VLLM = "vllm"
    """A vLLM that is started on this machine, quantised or not."""
    ELSEWHERE = "elsewhere"
    """Servers that have them already: they are not wanted here."""


_TASKS = {
    ModelKind.QWEN3_RERANKER: frozenset({Task.RERANK}),
    ModelKind.QWEN3_RERANKER_HEAD: frozenset({Task.RERANK}),
    ModelKind.QWEN3_EMBEDDER: frozenset({Task.EMBED}),
    ModelKind.CROSS_ENCODER: frozenset({Task.RERANK}),
    ModelKind.BI_ENCODER: frozenset({Task.EMBED, Task.RERANK}),
}

# Source: the organisation pages of Qwen on Hugging Face and ModelScope, which use the same names.
_SIZES = ("0.6B", "4B", "8B")
RERANKERS = frozenset(f"Qwen/Qwen3-Reranker-{size}" for size in _SIZES)
EMBEDDERS = frozenset(f"Qwen/Qwen3-Embedding-{size}" for size in _SIZES)
BASES = frozenset(f"Qwen/Qwen3-{size}-Base" for size in _SIZES)

# Source: token ids of "yes" and "no" in the Qwen3 vocabulary, which Qwen3-Reranker's model card reads its score from.
YES_NO = (9693, 2152)
