"""The kinds of model that can be served, and the metadata facts that distinguish them; `inspect` combines the facts.

Published models whose kind is known by name are listed here.
"""

from __future__ import annotations

from enum import StrEnum

from shortlist.hub.metadata import ModelMetadata
from shortlist.types import EMBED, RERANK, Operation


class ModelKind(StrEnum):
    """The kind of a model: its engine, and its prompt template."""

    QWEN3_RERANKER = "qwen3-reranker"
    """A causal language model with Qwen3-Reranker's template; the score is the log-odds of yes."""
    QWEN3_RERANKER_HEAD = "qwen3-reranker-head"
    """The same with yes and no folded into a head of one label."""
    QWEN3_EMBEDDER = "qwen3-embedder"
    """The last token's hidden state; queries have a template with an instruction."""
    CROSS_ENCODER = "cross-encoder"
    """Any other reranker that sentence-transformers loads."""
    BI_ENCODER = "bi-encoder"
    """Any other embedder that sentence-transformers loads; it can rank by cosine."""

    @property
    def operations(self) -> frozenset[Operation]:
        """Operations of this kind of model."""
        return _OPERATIONS[self]


class WeightsReader(StrEnum):
    """The reader of a model's weights, which determines their allowed formats and where they must be."""

    SHORTLIST = "ours"
    """A built-in engine, which does not load quantised weights."""
    VLLM = "vllm"
    """A managed vLLM on this machine; quantised weights are allowed."""
    UPSTREAM = "elsewhere"
    """Upstream servers: the weights are not downloaded."""


_OPERATIONS = {
    ModelKind.QWEN3_RERANKER: frozenset({RERANK}),
    ModelKind.QWEN3_RERANKER_HEAD: frozenset({RERANK}),
    ModelKind.QWEN3_EMBEDDER: frozenset({EMBED}),
    ModelKind.CROSS_ENCODER: frozenset({RERANK}),
    ModelKind.BI_ENCODER: frozenset({EMBED, RERANK}),
}

# Source: the organisation pages of Qwen on Hugging Face and ModelScope, which use the same names.
_SIZES = ("0.6B", "4B", "8B")
RERANKERS = frozenset(f"Qwen/Qwen3-Reranker-{size}" for size in _SIZES)
EMBEDDERS = frozenset(f"Qwen/Qwen3-Embedding-{size}" for size in _SIZES)
BASES = frozenset(f"Qwen/Qwen3-{size}-Base" for size in _SIZES)

# Source: token ids of "yes" and "no" in the Qwen3 vocabulary, which Qwen3-Reranker's model card reads its score from.
YES_NO = (9693, 2152)


_HEAD = "ForSequenceClassification"
_AT_END = "lasttoken"
_POOLING_MODE = "pooling_mode"

# Source: the query prompt in Qwen3-Embedding's config_sentence_transformers.json.
_INSTRUCT, _QUERY = "Instruct:", "\nQuery:"
# Source: the user turn of Qwen3-Reranker's chat template.
_FRAME = ("<Instruct>:", "<Query>:", "<Document>:")


def is_qwen3(metadata: ModelMetadata) -> bool:
    """Whether the native engine supports its layers."""
    return (metadata.config or {}).get("model_type") == "qwen3"


def has_head(metadata: ModelMetadata) -> bool:
    """Whether the model has a classification head."""
    return (metadata.architecture or "").endswith(_HEAD)


def count_labels(metadata: ModelMetadata) -> int:
    """Count the labels of its classification head. Source: `PretrainedConfig` in transformers, where two is the default."""
    config = metadata.config or {}
    labels, count = config.get("id2label"), config.get("num_labels")
    if isinstance(labels, dict):
        return len(labels)
    return count if isinstance(count, int) else 2


def read_words(metadata: ModelMetadata, key: str) -> frozenset[str]:
    """Return the card's values of `key`: a string or a list."""
    value = metadata.card.get(key)
    words = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return frozenset(str(word) for word in words)


def has_qwen3_reranker_template(metadata: ModelMetadata) -> bool:
    """Return whether name, base model or chat template indicate Qwen3-Reranker's template."""
    by_origin = metadata.hub_id in RERANKERS or bool(read_words(metadata, "base_model") & RERANKERS)
    return by_origin or all(mark in metadata.chat_template for mark in _FRAME)


def has_qwen3_embedding_template(metadata: ModelMetadata) -> bool:
    """Whether the native engine computes exactly the folder's modules and prompts."""
    names = {module.class_name for module in metadata.modules}
    if not is_qwen3(metadata) or names - {"Transformer", "Pooling", "Normalize"} or not _pools_last_token(metadata):
        return False
    prompts = metadata.library_config.get("prompts")
    query = prompts.get("query") if isinstance(prompts, dict) else None
    is_instruction = isinstance(query, str) and query.startswith(_INSTRUCT) and query.endswith(_QUERY)
    return metadata.hub_id in EMBEDDERS or is_instruction


def _pools_last_token(metadata: ModelMetadata) -> bool:
    """Read both forms of pooling settings: a mode name, or a flag per mode."""
    pooling = next(module.config for module in metadata.modules if module.class_name == "Pooling")
    switched_on = [key for key, value in pooling.items() if key.startswith(f"{_POOLING_MODE}_") and value is True]
    return pooling.get(_POOLING_MODE, _AT_END if switched_on == [f"{_POOLING_MODE}_{_AT_END}"] else None) == _AT_END
