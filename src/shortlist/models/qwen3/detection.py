"""Detects Qwen3 models in a folder: by its modules, its head, its name on a hub, its template, the user, or its card."""

from __future__ import annotations

import re
from typing import Final

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import ModelMetadata
from shortlist.models.base import Detection
from shortlist.models.qwen3 import prompt
from shortlist.models.qwen3.family import EMBEDDER, RERANKER, RERANKER_HEAD
from shortlist.models.qwen3.instruction import PAIR_ROLES, template_instruction
from shortlist.models.stated import descends_from, prompts_of
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

_RERANKER_NAME: Final = re.compile(r"qwen3[-_ .]?reranker", re.IGNORECASE)
_EMBEDDER_NAME: Final = re.compile(r"qwen3[-_ .]?embedding", re.IGNORECASE)
"""How the names of published models, their conversions and fine-tunes look."""

_AT_END: Final = "lasttoken"
_POOLING_MODE: Final = "pooling_mode"

_PLAIN_SETTINGS: Final = frozenset(
    {"max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name"}
)
"""Settings of sentence-transformers' first module that the native engine honours, or that do not change a number."""


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
    """Detect a folder whose modules and settings the native engine computes exactly."""
    if metadata.model_type != "qwen3" or metadata.module_names != ["Transformer", "Pooling", "Normalize"]:
        return None
    is_plain = (
        _pools_last_token(metadata) and _has_plain_settings(metadata) and metadata.read_suffix() in (None, [prompt.END_OF_TEXT])
    )
    if not is_plain or metadata.library_config.get("similarity_fn_name") not in {None, "cosine"}:
        return None
    steps = f"modules.json: {', '.join(metadata.module_names)}"
    return Detection(EMBEDDER, f"{steps}; a Qwen3 model pooled at its last token{_prompt_note(metadata)}")


def _prompt_note(metadata: ModelMetadata) -> str:
    named = prompts_of(metadata).named
    return f", with its own prompts ({', '.join(named)})" if any(named.values()) else ", without prompts"


def _has_plain_settings(metadata: ModelMetadata) -> bool:
    settings = metadata.transformer_config
    modalities = settings.get("modality_config") or {"text": {}}
    is_text = isinstance(modalities, dict) and set(modalities) == {"text"}
    has_others = any(value for name, value in settings.items() if name not in _PLAIN_SETTINGS)
    return is_text and not settings.get("do_lower_case") and not has_others


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
    ranks = descends_from(metadata, _RERANKER_NAME) or (bool(tags & _RERANKER_TAGS) and bases <= BASES)
    embeds = descends_from(metadata, _EMBEDDER_NAME) or (bool(tags & _EMBEDDER_TAGS) and bases <= BASES)
    if ranks and not embeds and architecture == "Qwen3ForCausalLM":
        return Detection(RERANKER, f"config.json: {architecture}; README.md says reranker{_reason(bases, tags)}")
    if embeds and not ranks:
        return Detection(EMBEDDER, f"config.json: {architecture}; README.md says embedder{_reason(bases, tags)}")
    raise ModelRefused(
        f"{metadata.name} is a Qwen3 language model, and nothing in it says whether it ranks or embeds: "
        f"say --reranker {metadata.name} or --embedder {metadata.name}"
    )


def _reason(bases: frozenset[str], tags: frozenset[str]) -> str:
    named = {name for name in bases if _RERANKER_NAME.search(name) or _EMBEDDER_NAME.search(name)}
    found = sorted(named or (tags & (_RERANKER_TAGS | _EMBEDDER_TAGS)))
    return f" ({', '.join(found)})"


def _has_reranker_template(metadata: ModelMetadata) -> bool:
    """Return whether chat template, name or base model show Qwen3-Reranker's template. A template of its own comes first."""
    has_template = template_instruction(metadata) is not None
    reads_pairs = any(f'"{role}"' in metadata.chat_template or f"'{role}'" in metadata.chat_template for role in PAIR_ROLES)
    is_known = metadata.hub_id in RERANKERS or descends_from(metadata, _RERANKER_NAME)
    return has_template or (is_known and not reads_pairs)


def _pools_last_token(metadata: ModelMetadata) -> bool:
    """Read both forms of pooling settings: a mode name, or a flag per mode."""
    pooling = next(module.config for module in metadata.modules if module.class_name == "Pooling")
    switched_on = [key for key, value in pooling.items() if key.startswith(f"{_POOLING_MODE}_") and value is True]
    return pooling.get(_POOLING_MODE, _AT_END if switched_on == [f"{_POOLING_MODE}_{_AT_END}"] else None) == _AT_END
