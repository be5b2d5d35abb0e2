"""Checks of a model folder that apply to every kind of model, before its kind is detected.

Weights are read from safetensors only, model code never runs, and a checkpoint that the engines cannot load is refused before
gigabytes are downloaded.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import Json, ModelMetadata

_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
_LIBRARY = "sentence_transformers."


class WeightsReader(StrEnum):
    """The reader of a model's weights, which determines their allowed formats and where they must be."""

    SHORTLIST = "ours"
    """A built-in engine, which does not load quantised weights."""
    VLLM = "vllm"
    """A managed vLLM on this machine; quantised weights are allowed."""
    UPSTREAM = "elsewhere"
    """Upstream servers: the weights are not downloaded."""


def check_config(
    metadata: ModelMetadata, *, reader: WeightsReader = WeightsReader.SHORTLIST, with_weights: bool = True
) -> None:
    """Check what applies to every kind of model.

    Args:
        metadata: The folder's metadata.
        reader: The reader of its weights.
        with_weights: Whether the weights must be listed; False while only the small files are present.

    Raises:
        ModelRefused: the folder is an adapter, a clone without Git LFS, a GGUF file, quantised for a built-in engine, without
            safetensors weights, or needs its own code.
    """
    _refuse_pointers(metadata)
    _refuse_adapter(metadata)
    _refuse_missing_config(metadata)
    _refuse_own_code(metadata)
    if reader is WeightsReader.SHORTLIST:
        _refuse_quantised(metadata)
    if with_weights:
        _refuse_missing_weights(metadata)
        _refuse_missing_shards(metadata)


def _refuse_adapter(metadata: ModelMetadata) -> None:
    if "adapter_config.json" not in metadata.listing:
        return
    if _has_weights(metadata):
        raise ModelRefused(
            f"{metadata.name} holds whole weights and an adapter (adapter_config.json), and nothing says which one is "
            "meant: remove the adapter's files, or merge it into the weights"
        )
    raise ModelRefused(f"{metadata.name} is an adapter, not a whole model: merge it into its base model and serve the result")


def _refuse_pointers(metadata: ModelMetadata) -> None:
    """Refuse a clone without Git LFS, whose large files are small texts that name them."""
    if metadata.pointers:
        raise ModelRefused(
            f"{metadata.name} was cloned without Git LFS ({metadata.pointers[0]} only names the file): "
            "run `git lfs pull` in it, or download the model again"
        )


def _refuse_missing_config(metadata: ModelMetadata) -> None:
    if metadata.config is not None:
        return
    if _has(metadata, {".gguf"}):
        raise ModelRefused(
            f"{metadata.name} holds GGUF files, which only llama.cpp reads and which often lack the ranking head: "
            "name the original model instead"
        )
    if metadata.modules:
        names = ", ".join(metadata.module_names)
        raise ModelRefused(
            f"{metadata.name} does not begin with a Transformer that has a config.json (its modules: {names}); Shortlist "
            "serves models with one encoder for queries and documents"
        )
    raise ModelRefused(f"{metadata.name} has no config.json, so it is not a model that can be loaded")


ADOPTED_TYPES: Final = frozenset({"eurobert", "gte", "jina_embeddings_v3", "nomic_bert"})
"""Types of models that were published with code of their own and are in transformers now. Other types are refused if they
come with code: it changes what a type of transformers means, as gte-Qwen2 makes qwen2 bidirectional and jina-embeddings-v2
gives bert other positions."""

CONVERTED: Final = {
    "new": "a conversion to transformers' own type gte, such as alibaba-nlp-community/gte-multilingual-base, can be served"
}
"""What to name instead of models whose type transformers has under another name."""


def _refuse_own_code(metadata: ModelMetadata) -> None:
    """Refuse models that load only by running Python code from their folder."""
    if _auto_map(metadata.config) and metadata.model_type not in ADOPTED_TYPES:
        advice = f"; {CONVERTED[metadata.model_type]}" if metadata.model_type in CONVERTED else ""
        raise ModelRefused(
            f"{metadata.name} needs code of its own (auto_map); Shortlist never runs code that comes with a model{advice}"
        )
    tokenizer_code = _auto_map(metadata.tokenizer_config)
    if tokenizer_code and "tokenizer.json" not in metadata.listing:
        raise ModelRefused(
            f"{metadata.name} needs code of its own for its tokenizer (auto_map); "
            "Shortlist never runs code that comes with a model"
        )
    strange = next((module.type for module in metadata.modules if not module.type.startswith(_LIBRARY)), None)
    if strange is not None:
        raise ModelRefused(
            f"{metadata.name} needs code of its own ({strange}); Shortlist never runs code that comes with a model"
        )


def _auto_map(config: Json | None) -> bool:
    return bool((config or {}).get("auto_map"))


def _refuse_quantised(metadata: ModelMetadata) -> None:
    config = metadata.config or {}
    settings = config.get("quantization_config")
    if settings:
        method = settings.get("quant_method", "unknown method") if isinstance(settings, dict) else "unknown method"
        raise ModelRefused(
            f"{metadata.name} is quantised ({method}), which our own engines do not read: name the original model, or let vLLM "
            "compute it (--engine vllm)"
        )
    mlx = config.get("quantization")
    if mlx:
        bits = mlx.get("bits", "few") if isinstance(mlx, dict) else "few"
        raise ModelRefused(
            f"{metadata.name} is quantised for MLX ({bits} bits), which only Apple's MLX reads: name the original model"
        )


def _refuse_missing_weights(metadata: ModelMetadata) -> None:
    if _has_weights(metadata):
        return
    if _has(metadata, _PICKLES):
        raise ModelRefused(
            f"{metadata.name} has its weights only as pickles, which can run code when opened: "
            "name a model with .safetensors files, or convert this one"
        )
    found = "GGUF" if _has(metadata, {".gguf"}) else "ONNX" if _has(metadata, {".onnx"}) else None
    if found is not None:
        raise ModelRefused(
            f"{metadata.name} has its weights only as {found}; Shortlist reads .safetensors: name the original model"
        )
    raise ModelRefused(f"{metadata.name} has no .safetensors weights; if a download was cut short, download it again")


def _refuse_missing_shards(metadata: ModelMetadata) -> None:
    home = PurePosixPath(metadata.weights_path)
    missing = [shard for shard in metadata.shards if (home / shard).as_posix() not in metadata.listing]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelRefused(f"{metadata.name} is incomplete, {missing[0]}{others} is missing: download it again")


def _has_weights(metadata: ModelMetadata) -> bool:
    home = metadata.weights_path.rstrip("/") or "."
    names = (PurePosixPath(path) for path in metadata.listing if path.endswith(".safetensors"))
    return any(str(path.parent) == home and not path.name.startswith(("adapter_model", "sparse_linear")) for path in names)


def _has(metadata: ModelMetadata, suffixes: set[str] | frozenset[str]) -> bool:
    return any(PurePosixPath(path).suffix.lower() in suffixes for path in metadata.listing)
