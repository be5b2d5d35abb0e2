"""Detects all other models that sentence-transformers loads, and refuses what it cannot serve."""

from __future__ import annotations

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import ModelMetadata
from shortlist.models.base import Detection
from shortlist.models.sentence.family import BI_ENCODER, CROSS_ENCODER, SPARSE_ENCODER
from shortlist.types import Operation


def detect(metadata: ModelMetadata, declared: Operation | None) -> Detection:
    """Detect a cross-encoder or an embedder. See `models.registry.Detector`."""
    del declared
    if metadata.modules and metadata.library_type == "CrossEncoder":
        return _by_cross_encoder_modules(metadata)
    if metadata.modules and metadata.library_type == "SparseEncoder":
        return Detection(SPARSE_ENCODER, f"modules.json: {', '.join(metadata.module_names)}; a sparse encoder")
    if metadata.modules:
        return _by_modules(metadata)
    return _by_architecture(metadata)


def _by_modules(metadata: ModelMetadata) -> Detection:
    """Detect from modules.json.

    Source: `BaseModel._get_model_type` in sentence-transformers 6.
    """
    names = metadata.module_names
    if names[0] != "Transformer" or "Pooling" not in names:
        raise ModelRefused(f"{metadata.name} is not a text encoder with pooling (its modules: {', '.join(names)})")
    steps = f"modules.json: {', '.join(names)}"
    return Detection(BI_ENCODER, f"{steps}; sentence-transformers pools {metadata.architecture or 'it'}")


def _by_cross_encoder_modules(metadata: ModelMetadata) -> Detection:
    says, names = "config_sentence_transformers.json: CrossEncoder", metadata.module_names
    if "LogitScore" in names:
        return Detection(CROSS_ENCODER, f"{says}; scored by a word of its vocabulary")
    if metadata.has_head:
        return _by_head(metadata, says)
    if "Dense" not in names:
        raise ModelRefused(
            f"{metadata.name} has no head to rank with, though it calls itself a CrossEncoder ({', '.join(names)})"
        )
    return Detection(CROSS_ENCODER, f"{says} ({', '.join(names)})")


def _by_architecture(metadata: ModelMetadata) -> Detection:
    architecture = metadata.architecture
    if architecture is None:
        raise ModelRefused(f"{metadata.name} names no architecture in its config.json")
    if metadata.has_head:
        return _by_head(metadata, "config.json")
    if architecture.endswith("ForCausalLM"):
        raise ModelRefused(
            f"{metadata.name} is a language model ({architecture}); the only ones that Shortlist ranks with are Qwen3's"
        )
    raise ModelRefused(
        f"{metadata.name} is a bare {architecture}: without modules.json nothing says how its token vectors become one vector "
        "(its pooling), and it has no head to rank with"
    )


def _by_head(metadata: ModelMetadata, says: str) -> Detection:
    if metadata.num_labels != 1:
        raise ModelRefused(f"{metadata.name} is a classifier with {metadata.num_labels} labels; a reranker has exactly one")
    return Detection(CROSS_ENCODER, f"{says}: {metadata.architecture} with one label")
