"""The families of models that sentence-transformers loads, and their detection. The last detector: it refuses the rest."""

from __future__ import annotations

from typing import Final

from shortlist.config import ModelSettings
from shortlist.engine.base import Engine
from shortlist.errors import BadSetting, ModelRefused
from shortlist.hub.metadata import ModelMetadata, read_metadata
from shortlist.models.base import Detection, Load, LoadContext, ModelFamily, ModelFiles, needs_extra
from shortlist.models.stated import prompts_of
from shortlist.text.encoder import Encoder
from shortlist.text.text_encoder import TextEncoder
from shortlist.types import EMBED, EMBED_SPARSE, RERANK, Operation


def _load(engine_name: str) -> Load:
    """Return a function that loads a model with an engine of `engine.sentence`."""

    def load(model: ModelFiles, context: LoadContext) -> tuple[Engine, Encoder]:
        settings = context.settings
        _check_device(model, settings)
        with needs_extra("sentence"):
            from shortlist.engine import sentence

        prompts_of(read_metadata(model.path, name=model.name))  # the library would fail with its own error
        make_engine = getattr(sentence, engine_name)
        engine = make_engine(model.path, device=settings.device, max_model_len=settings.max_model_len, digest=model.digest)
        limit, num_special = engine.info.max_model_len, engine.rules.num_special
        if num_special > limit - MIN_TOKENS:
            engine.close()
            raise BadSetting(f"max_model_len is {limit}, but the model's own template has {num_special} tokens.")
        return engine, TextEncoder(engine.rules, limit)

    return load


MIN_TOKENS: Final = 2
"""Tokens for the shortest pair, besides a template."""


def _check_device(model: ModelFiles, settings: ModelSettings) -> None:
    """Refuse a wrong device before seconds of imports."""
    if "," in settings.device:
        raise BadSetting(
            f"device (--device) names several devices, but {model.name} runs on one: sentence-transformers computes it. "
            "Name one, or auto."
        )
    with needs_extra("sentence"):
        from shortlist.engine.device import pick_device

    pick_device(settings.device)


CROSS_ENCODER: Final = ModelFamily(
    name="cross-encoder", operations=frozenset({RERANK}), load={"sentence": _load("CrossEncoderEngine")}
)
"""Any other reranker."""

BI_ENCODER: Final = ModelFamily(
    name="bi-encoder",
    operations=frozenset({EMBED, RERANK}),
    default_operations=frozenset({EMBED}),
    load={"sentence": _load("BiEncoderEngine")},
)
"""Any other embedder. It can rank by cosine; next to a reranker that would be a silently worse default."""

SPARSE_HEAD_ENCODER: Final = ModelFamily(
    name="bi-encoder with a sparse head",
    operations=frozenset({EMBED, EMBED_SPARSE, RERANK}),
    default_operations=frozenset({EMBED, EMBED_SPARSE}),
    load={"sentence": _load("SparseHeadEngine")},
)
"""A bi-encoder with a second head that weighs tokens, for sparse vectors: BGE-M3 and similar."""

SPARSE_ENCODER: Final = ModelFamily(
    name="sparse-encoder", operations=frozenset({EMBED_SPARSE}), load={"sentence": _load("SparseEncoderEngine")}
)
"""A model that embeds texts as sparse vectors: SPLADE and similar."""

SPARSE_HEAD: Final = "sparse_linear.safetensors"
"""The sparse head of BGE-M3, converted from `PICKLED_HEAD`, which could run any code when it is read."""

PICKLED_HEAD: Final = "sparse_linear.pt"

LIBRARY_TYPES: Final = frozenset({"SentenceTransformer", "CrossEncoder", "SparseEncoder"})

LIBRARY_REFUSALS: Final = {
    "MultiVectorEncoder": "makes one vector per token; Shortlist serves one vector per text, and rerankers",
}


def detect(metadata: ModelMetadata, declared: Operation | None) -> Detection:
    """Detect a cross-encoder or an embedder. See `models.registry.Detector`."""
    del declared
    library_type = metadata.library_type
    if library_type in LIBRARY_REFUSALS:
        raise ModelRefused(f"{metadata.name} {LIBRARY_REFUSALS[library_type]}")
    if library_type not in LIBRARY_TYPES:
        raise ModelRefused(f"{metadata.name} is of a sentence-transformers type that Shortlist does not know: {library_type}")
    if metadata.modules and library_type == "CrossEncoder":
        return _by_cross_encoder_modules(metadata)
    if metadata.modules and library_type == "SparseEncoder":
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
    why = f"modules.json: {', '.join(names)}; sentence-transformers pools {metadata.architecture or 'it'}"
    if SPARSE_HEAD in metadata.listing:
        return Detection(SPARSE_HEAD_ENCODER, f"{why}; {SPARSE_HEAD}")
    if PICKLED_HEAD in metadata.listing:
        why += f"; without sparse vectors: {PICKLED_HEAD} is a pickle, save its tensors as {SPARSE_HEAD}"
    return Detection(BI_ENCODER, why)


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
