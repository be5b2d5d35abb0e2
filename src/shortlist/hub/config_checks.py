"""Checks of a model folder that apply to every kind of model, before its kind is detected.

Weights are read from safetensors only, model code never runs, and a checkpoint that the engines cannot load is refused before
gigabytes are downloaded.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import ModelMetadata

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
        ModelRefused: the folder is an adapter, a GGUF file, quantised for a built-in engine, without safetensors weights,
            or needs its own code.
    """
    _refuse_adapter(metadata)
    _refuse_missing_config(metadata)
    _refuse_own_code(metadata)
    if reader is WeightsReader.SHORTLIST:
        _refuse_quantised(metadata)
    if with_weights:
        _refuse_missing_weights(metadata)
        _refuse_missing_shards(metadata)


def _refuse_adapter(metadata: ModelMetadata) -> None:
    if "adapter_config.json" in metadata.listing:
        raise ModelRefused(
            f"{metadata.name} is an adapter, not a whole model: merge it into its base model and serve the result"
        )


def _refuse_missing_config(metadata: ModelMetadata) -> None:
    if metadata.config is not None:
        return
    if _has(metadata, {".gguf"}):
        raise ModelRefused(
            f"{metadata.name} holds GGUF files, which only llama.cpp reads and which often lack the ranking head: "
            "name the original model instead"
        )
    raise ModelRefused(f"{metadata.name} has no config.json, so it is not a model that can be loaded")


def _refuse_own_code(metadata: ModelMetadata) -> None:
    """Refuse models that load only by running Python code from their folder."""
    if (metadata.config or {}).get("auto_map") or metadata.tokenizer_config.get("auto_map"):
        raise ModelRefused(
            f"{metadata.name} needs code of its own (auto_map); Shortlist never runs code that comes with a model"
        )
    strange = next((module.type for module in metadata.modules if not module.type.startswith(_LIBRARY)), None)
    if strange is not None:
        raise ModelRefused(
            f"{metadata.name} needs code of its own ({strange}); Shortlist never runs code that comes with a model"
        )


def _refuse_quantised(metadata: ModelMetadata) -> None:
    settings = (metadata.config or {}).get("quantization_config")
    if settings:
        method = settings.get("quant_method", "unknown method") if isinstance(settings, dict) else "unknown method"
        raise ModelRefused(
            f"{metadata.name} is quantised ({method}), which our own engines do not read: name the original model, or let vLLM "
            "compute it (--engine vllm)"
        )


def _refuse_missing_weights(metadata: ModelMetadata) -> None:
    home = metadata.weights_path.rstrip("/") or "."
    if any(path.endswith(".safetensors") and str(PurePosixPath(path).parent) == home for path in metadata.listing):
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


def _has(metadata: ModelMetadata, suffixes: set[str] | frozenset[str]) -> bool:
    return any(PurePosixPath(path).suffix.lower() in suffixes for path in metadata.listing)
