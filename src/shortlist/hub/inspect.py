"""Detects the kind of model in a folder from its metadata, with the reason in words.

Order: sentence-transformers' own files, the architecture and its head, the table of published models, the model card. A name
decides only if a hub confirms it and it is in the table exactly. If the metadata is not sufficient, the user must declare the
kind. No weights are opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shortlist.errors import ModelRefused
from shortlist.hub.config_checks import check_config
from shortlist.hub.kind import (
    BASES,
    EMBEDDERS,
    RERANKERS,
    YES_NO,
    ModelKind,
    WeightsReader,
    count_labels,
    has_head,
    has_qwen3_embedding_template,
    has_qwen3_reranker_template,
    is_qwen3,
    read_words,
)
from shortlist.hub.metadata import Listing, ModelMetadata, read_metadata
from shortlist.types import RERANK, Operation

_RERANKER_TAGS = frozenset({"text-ranking", "cross-encoder"})
_EMBEDDER_TAGS = frozenset({"feature-extraction", "sentence-similarity"})

_LIBRARY_REFUSALS = {
    "SparseEncoder": "makes sparse vectors, one weight per word of its vocabulary; Shortlist serves dense ones",
    "MultiVectorEncoder": "makes one vector per token; Shortlist serves one vector per text, and rerankers",
}


@dataclass(frozen=True, slots=True)
class Detection:
    """The kind of model in a folder, and the reason in one sentence."""

    kind: ModelKind
    why: str


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A folder that can be served.

    Attributes:
        kind: The kind of model.
        why: The reason for the kind, in one sentence.
        size_bytes: Total size of its files.
    """

    kind: ModelKind
    why: str
    size_bytes: int


def inspect(
    folder: Path,
    *,
    name: str,
    hub_id: str | None = None,
    declared: Operation | None = None,
    listing: Listing | None = None,
    reader: WeightsReader = WeightsReader.SHORTLIST,
    with_weights: bool = True,
) -> ModelFiles:
    """Detect the kind of model in a folder.

    Args:
        folder: The model's folder; its small files suffice if `listing` is given.
        name: The model's name in messages.
        hub_id: `OWNER/NAME` if the name comes from a hub.
        declared: The task that the user declares; None to detect it.
        listing: The hub's files, if not all are downloaded yet.
        reader: The reader of its weights.
        with_weights: Whether the weights must be listed.

    Raises:
        ModelRefused: the model cannot be served, or not for this task, or its kind cannot be detected.
    """
    metadata = read_metadata(folder, name=name, hub_id=hub_id, listing=listing)
    check_config(metadata, reader=reader, with_weights=with_weights and reader is not WeightsReader.UPSTREAM)
    detection = decide(metadata, declared)
    return ModelFiles(detection.kind, detection.why, metadata.size_bytes)


def decide(metadata: ModelMetadata, declared: Operation | None) -> Detection:
    """Decide from the metadata; `declared` decides only what the metadata leaves open.

    Raises:
        ModelRefused: the metadata shows an unsupported kind, contradicts `declared`, or is not sufficient.
    """
    library_type = str(metadata.library_config.get("model_type", "SentenceTransformer"))
    if library_type in _LIBRARY_REFUSALS:
        raise ModelRefused(f"{metadata.name} {_LIBRARY_REFUSALS[library_type]}")
    if library_type not in {"SentenceTransformer", "CrossEncoder"}:
        raise ModelRefused(f"{metadata.name} is of a sentence-transformers type that Shortlist does not know: {library_type}")
    detection = _by_modules(metadata, library_type) if metadata.modules else _by_architecture(metadata, declared)
    if declared is not None and declared not in detection.kind.operations:
        raise ModelRefused(f"{metadata.name} cannot {declared.name}: it is a {detection.kind.value} ({detection.why})")
    return detection


# -- folders written by sentence-transformers ---------------------------------------------------------------------------


def _by_modules(metadata: ModelMetadata, library_type: str) -> Detection:
    """Detect from modules.json. Folders without a type field, which is newer, hold embedders.

    Source: `BaseModel._get_model_type` in sentence-transformers 6.
    """
    names = [module.class_name for module in metadata.modules]
    if library_type == "CrossEncoder":
        return _cross_encoder_modules(metadata, names)
    if names[0] != "Transformer" or "Pooling" not in names:
        raise ModelRefused(f"{metadata.name} is not a text encoder with pooling (its modules: {', '.join(names)})")
    steps = f"modules.json: {', '.join(names)}"
    if has_qwen3_embedding_template(metadata):
        return Detection(
            ModelKind.QWEN3_EMBEDDER, f"{steps}; a Qwen3 model pooled at its last token, queries framed with an instruction"
        )
    return Detection(ModelKind.BI_ENCODER, f"{steps}; sentence-transformers pools {metadata.architecture or 'it'}")


def _cross_encoder_modules(metadata: ModelMetadata, names: list[str]) -> Detection:
    says = "config_sentence_transformers.json: CrossEncoder"
    if "LogitScore" not in names and has_head(metadata):
        return _by_head(metadata, says)
    if "LogitScore" not in names and "Dense" not in names:
        raise ModelRefused(
            f"{metadata.name} has no head to rank with, though it calls itself a CrossEncoder ({', '.join(names)})"
        )
    if "LogitScore" not in names:
        return Detection(ModelKind.CROSS_ENCODER, f"{says} ({', '.join(names)})")
    score = metadata.modules[names.index("LogitScore")].config
    if (
        is_qwen3(metadata)
        and (score.get("true_token_id"), score.get("false_token_id")) == YES_NO
        and has_qwen3_reranker_template(metadata)
    ):
        return Detection(ModelKind.QWEN3_RERANKER, f"{says}; a Qwen3 model scored by its yes and no")
    return Detection(ModelKind.CROSS_ENCODER, f"{says}; scored by a word of its vocabulary")


# -- every other folder -------------------------------------------------------------------------------------------------


def _by_architecture(metadata: ModelMetadata, declared: Operation | None) -> Detection:
    architecture = metadata.architecture
    if architecture is None:
        raise ModelRefused(f"{metadata.name} names no architecture in its config.json")
    if has_head(metadata):
        return _by_head(metadata, "config.json")
    if architecture in {"Qwen3ForCausalLM", "Qwen3Model"}:
        return _qwen3(metadata, declared, architecture)
    if architecture.endswith("ForCausalLM"):
        raise ModelRefused(
            f"{metadata.name} is a language model ({architecture}); the only ones that Shortlist ranks with are Qwen3's"
        )
    raise ModelRefused(
        f"{metadata.name} is a bare {architecture}: without modules.json nothing says how its token vectors become one vector "
        "(its pooling), and it has no head to rank with"
    )


def _by_head(metadata: ModelMetadata, says: str) -> Detection:
    architecture, num_labels = metadata.architecture, count_labels(metadata)
    if num_labels != 1:
        raise ModelRefused(f"{metadata.name} is a classifier with {num_labels} labels; a reranker has exactly one")
    is_silent = not metadata.modules and not read_words(metadata, "base_model")
    if architecture == "Qwen3ForSequenceClassification" and (is_silent or has_qwen3_reranker_template(metadata)):
        return Detection(ModelKind.QWEN3_RERANKER_HEAD, f"{says}: {architecture} with one label, framed as Qwen3-Reranker")
    return Detection(ModelKind.CROSS_ENCODER, f"{says}: {architecture} with one label")


def _qwen3(metadata: ModelMetadata, declared: Operation | None, architecture: str) -> Detection:
    """Detect the task of a Qwen3 language model, which its weights do not show."""
    if metadata.hub_id in RERANKERS:
        return Detection(ModelKind.QWEN3_RERANKER, f"{metadata.hub_id} is a published reranker")
    if metadata.hub_id in EMBEDDERS:
        return Detection(ModelKind.QWEN3_EMBEDDER, f"{metadata.hub_id} is a published embedder")
    if declared is RERANK and architecture == "Qwen3Model":
        raise ModelRefused(f"{metadata.name} cannot rerank: it was saved without the head that says yes or no ({architecture})")
    if declared is not None:
        kind = ModelKind.QWEN3_RERANKER if declared is RERANK else ModelKind.QWEN3_EMBEDDER
        return Detection(kind, f"config.json: {architecture}; you said that it is for {declared.name}")
    return _by_card(metadata, architecture)


def _by_card(metadata: ModelMetadata, architecture: str) -> Detection:
    bases, tags = read_words(metadata, "base_model"), read_words(metadata, "tags") | read_words(metadata, "pipeline_tag")
    ranks = bool(bases & RERANKERS) or (bool(tags & _RERANKER_TAGS) and bases <= BASES)
    embeds = bool(bases & EMBEDDERS) or (bool(tags & _EMBEDDER_TAGS) and bases <= BASES)
    if ranks and not embeds and architecture == "Qwen3ForCausalLM":
        return Detection(
            ModelKind.QWEN3_RERANKER, f"config.json: {architecture}; README.md says reranker{_reason(bases, tags)}"
        )
    if embeds and not ranks:
        return Detection(
            ModelKind.QWEN3_EMBEDDER, f"config.json: {architecture}; README.md says embedder{_reason(bases, tags)}"
        )
    raise ModelRefused(
        f"{metadata.name} is a Qwen3 language model, and nothing in it says whether it ranks or embeds: "
        f"say --reranker {metadata.name} or --embedder {metadata.name}"
    )


def _reason(bases: frozenset[str], tags: frozenset[str]) -> str:
    found = sorted((bases & (RERANKERS | EMBEDDERS)) or (tags & (_RERANKER_TAGS | _EMBEDDER_TAGS)))
    return f" ({', '.join(found)})"
