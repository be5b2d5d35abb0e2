"""Detects Qwen3 models in a folder: by its modules, its head, its name on a hub, its template, the user, or its card."""

from __future__ import annotations

from typing import Final

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import ModelMetadata
from shortlist.models.base import Detection
from shortlist.models.qwen3.family import EMBEDDER, RERANKER, RERANKER_HEAD
from shortlist.types import EMBED, RERANK, Operation

# Source: the organisation pages of Qwen on Hugging Face and ModelScope, which use the same names.
_SIZES: Final = ("0.6B", "4B", "8B")
RERANKERS: Final = frozenset(f"Qwen/Qwen3-Reranker-{size}" for size in _SIZES)
EMBEDDERS: Final = frozenset(f"Qwen/Qwen3-Embedding-{size}" for size in _SIZES)
BASES: Final = frozenset(f"Qwen/Qwen3-{size}-Base" for size in _SIZES)

YES_NO: Final = (9693, 2152)
"""Source: token ids of "yes" and "no" in the Qwen3 vocabulary, which Qwen3-Reranker's model card reads its score from."""

_RERANKER_TAGS: Final = frozenset({"text-ranking", "cross-encoder"})
_EMBEDDER_TAGS: Final = frozenset({"feature-extraction", "sentence-similarity"})

_AT_END: Final = "lasttoken"
_POOLING_MODE: Final = "pooling_mode"

# Source: the query prompt in Qwen3-Embedding's config_sentence_transformers.json.
_INSTRUCT, _QUERY = "Instruct:", "\nQuery:"
# Source: the user turn of Qwen3-Reranker's chat template.
_FRAME: Final = ("<Instruct>:", "<Query>:", "<Document>:")


def detect(metadata: ModelMetadata, declared: Operation | None) -> Detection | None:
    """Detect a Qwen3 model. See `models.registry.Detector`."""
    if metadata.modules and metadata.library_type == "CrossEncoder":
        return _cross_encoder(metadata)
    if metadata.modules and metadata.library_type == "SentenceTransformer":
        return _embedder(metadata)
    if metadata.modules:
        return None
    if metadata.has_head:
        return _head(metadata, "config.json")
    if metadata.architecture in {"Qwen3ForCausalLM", "Qwen3Model"}:
        return _language_model(metadata, declared, metadata.architecture)
    return None


def _embedder(metadata: ModelMetadata) -> Detection | None:
    """Detect a folder whose modules and prompts the native engine computes exactly."""
    names = metadata.module_names
    is_plain = names[0] == "Transformer" and "Pooling" in names and not set(names) - {"Transformer", "Pooling", "Normalize"}
    if not is_plain or metadata.model_type != "qwen3" or not _pools_last_token(metadata):
        return None
    prompts = metadata.library_config.get("prompts")
    query = prompts.get("query") if isinstance(prompts, dict) else None
    is_instruction = isinstance(query, str) and query.startswith(_INSTRUCT) and query.endswith(_QUERY)
    if metadata.hub_id not in EMBEDDERS and not is_instruction:
        return None
    steps = f"modules.json: {', '.join(names)}"
    return Detection(EMBEDDER, f"{steps}; a Qwen3 model pooled at its last token, queries framed with an instruction")


def _cross_encoder(metadata: ModelMetadata) -> Detection | None:
    says, names = "config_sentence_transformers.json: CrossEncoder", metadata.module_names
    if "LogitScore" not in names:
        return _head(metadata, says) if metadata.has_head else None
    score = metadata.modules[names.index("LogitScore")].config
    has_answers = (score.get("true_token_id"), score.get("false_token_id")) == YES_NO
    if metadata.model_type == "qwen3" and has_answers and _has_reranker_template(metadata):
        return Detection(RERANKER, f"{says}; a Qwen3 model scored by its yes and no")
    return None


def _head(metadata: ModelMetadata, says: str) -> Detection | None:
    architecture = metadata.architecture
    if architecture != "Qwen3ForSequenceClassification" or metadata.num_labels != 1:
        return None
    is_silent = not metadata.modules and not metadata.card_words("base_model")
    if not is_silent and not _has_reranker_template(metadata):
        return None
    return Detection(RERANKER_HEAD, f"{says}: {architecture} with one label, framed as Qwen3-Reranker")


def _language_model(metadata: ModelMetadata, declared: Operation | None, architecture: str) -> Detection:
    """Detect the task of a Qwen3 language model, which its weights do not show."""
    if metadata.hub_id in RERANKERS:
        return Detection(RERANKER, f"{metadata.hub_id} is a published reranker")
    if metadata.hub_id in EMBEDDERS:
        return Detection(EMBEDDER, f"{metadata.hub_id} is a published embedder")
    if declared is RERANK and architecture == "Qwen3Model":
        raise ModelRefused(f"{metadata.name} cannot rerank: it was saved without the head that says yes or no ({architecture})")
    family = {RERANK: RERANKER, EMBED: EMBEDDER}.get(declared) if declared is not None else None
    if family is not None:
        return Detection(family, f"config.json: {architecture}; you said that it is for {declared}")
    return _by_card(metadata, architecture)


def _by_card(metadata: ModelMetadata, architecture: str) -> Detection:
    bases, tags = metadata.card_words("base_model"), metadata.card_words("tags") | metadata.card_words("pipeline_tag")
    ranks = bool(bases & RERANKERS) or (bool(tags & _RERANKER_TAGS) and bases <= BASES)
    embeds = bool(bases & EMBEDDERS) or (bool(tags & _EMBEDDER_TAGS) and bases <= BASES)
    if ranks and not embeds and architecture == "Qwen3ForCausalLM":
        return Detection(RERANKER, f"config.json: {architecture}; README.md says reranker{_reason(bases, tags)}")
    if embeds and not ranks:
        return Detection(EMBEDDER, f"config.json: {architecture}; README.md says embedder{_reason(bases, tags)}")
    raise ModelRefused(
        f"{metadata.name} is a Qwen3 language model, and nothing in it says whether it ranks or embeds: "
        f"say --reranker {metadata.name} or --embedder {metadata.name}"
    )


def _reason(bases: frozenset[str], tags: frozenset[str]) -> str:
    found = sorted((bases & (RERANKERS | EMBEDDERS)) or (tags & (_RERANKER_TAGS | _EMBEDDER_TAGS)))
    return f" ({', '.join(found)})"


def _has_reranker_template(metadata: ModelMetadata) -> bool:
    """Return whether name, base model or chat template indicate Qwen3-Reranker's template."""
    by_origin = metadata.hub_id in RERANKERS or bool(metadata.card_words("base_model") & RERANKERS)
    return by_origin or all(mark in metadata.chat_template for mark in _FRAME)


def _pools_last_token(metadata: ModelMetadata) -> bool:
    """Read both forms of pooling settings: a mode name, or a flag per mode."""
    pooling = next(module.config for module in metadata.modules if module.class_name == "Pooling")
    switched_on = [key for key, value in pooling.items() if key.startswith(f"{_POOLING_MODE}_") and value is True]
    return pooling.get(_POOLING_MODE, _AT_END if switched_on == [f"{_POOLING_MODE}_{_AT_END}"] else None) == _AT_END
