"""The configuration of a Qwen3 model, from its `config.json`; unsupported options are refused by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shortlist.errors import ModelRefused

_CAUSAL: Final = frozenset({"Qwen3ForCausalLM", "Qwen3Model"})
_CLASSIFIER: Final = "Qwen3ForSequenceClassification"

_HEAD_DIM: Final = 128
"""Source: the default of `Qwen3Config` in transformers, whatever the hidden size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3Config:
    """A model's configuration, as far as the engine uses it.

    Attributes:
        is_tied: Whether the LM head is the embedding matrix.
        is_classifier: Whether the checkpoint is a reranker converted to a classifier with one output.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_positions: int
    norm_eps: float
    rope_theta: float
    is_tied: bool
    is_classifier: bool

    @classmethod
    def read(cls, folder: Path) -> Qwen3Config:
        """Return the configuration of the model in `folder`.

        Raises:
            ModelRefused: `config.json` is missing, broken, or requires something this engine does not implement.
        """
        path = folder / "config.json"
        fields = _Fields(path, _load(path))
        _refuse_unknown(fields)
        hidden, heads = fields.count("hidden_size"), fields.count("num_attention_heads")
        config = cls(
            vocab_size=fields.count("vocab_size"),
            hidden_size=hidden,
            intermediate_size=fields.count("intermediate_size"),
            num_layers=fields.count("num_hidden_layers"),
            num_heads=heads,
            num_kv_heads=fields.count("num_key_value_heads", heads),
            head_dim=fields.count("head_dim", _HEAD_DIM),
            max_positions=fields.count("max_position_embeddings"),
            norm_eps=fields.positive("rms_norm_eps", fields.get("rms_norm_eps", 1e-6)),
            rope_theta=_rope_theta(fields),
            is_tied=fields.flag("tie_word_embeddings"),
            is_classifier=_CLASSIFIER in fields.words("architectures"),
        )
        if config.num_heads % config.num_kv_heads:
            raise fields.refusal("num_key_value_heads", "does not divide num_attention_heads")
        if config.head_dim % 2:
            raise fields.refusal("head_dim", "is odd; rotary positions need an even width")
        return config


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of one file, with its path for messages."""

    path: Path
    values: Mapping[str, Any]

    def get(self, name: str, default: object = None) -> Any:
        value = self.values.get(name)
        return default if value is None else value

    def count(self, name: str, default: int | None = None) -> int:
        value = self.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.refusal(name, "is not a positive integer")
        return value

    def flag(self, name: str) -> bool:
        value = self.get(name, default=False)
        if not isinstance(value, bool):
            raise self.refusal(name, "is neither true nor false")
        return value

    def words(self, name: str) -> list[str]:
        value = self.get(name, [])
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self.refusal(name, "is not a list of strings")
        return value

    def positive(self, name: str, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= sys.float_info.max:
            raise self.refusal(name, "is not a positive number")
        return float(value)

    def refusal(self, name: str, why: str) -> ModelRefused:
        return ModelRefused(f"{self.path}: {name} {why} (it is {self.values.get(name)!r}).")


def _load(path: Path) -> Mapping[str, Any]:
    try:
        fields = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelRefused(f"{path} cannot be read as JSON.") from error
    if not isinstance(fields, dict):
        raise ModelRefused(f"{path} is not a JSON object.")
    return fields


def _refuse_unknown(fields: _Fields) -> None:
    required: dict[str, tuple[object, ...]] = {
        "model_type": ("qwen3",),
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "use_sliding_window": (False,),
        "is_causal": (True,),
        "quantization_config": (),
    }
    for name, allowed in required.items():
        value = fields.get(name)
        is_needed = name == "model_type"
        if value not in allowed and (value is not None or is_needed):
            raise fields.refusal(name, "is not implemented by the native engine")
    if any(kind != "full_attention" for kind in fields.words("layer_types")):
        raise fields.refusal("layer_types", "has layers other than full_attention, which the native engine does not implement")
    if not (_CAUSAL | {_CLASSIFIER}).intersection(fields.words("architectures")):
        raise fields.refusal("architectures", "has none that the native engine implements")


def _rope_theta(fields: _Fields) -> float:
    """Return the base of the rotary positions, from the configuration style of transformers 5 or the older one."""
    for name in ("rope_parameters", "rope_scaling"):
        scaling = fields.get(name, {})
        kind = scaling.get("rope_type", scaling.get("type", "default")) if isinstance(scaling, dict) else None
        if kind != "default":
            raise fields.refusal(name, "has scaled rotary positions, which the native engine does not implement")
    modern = fields.get("rope_parameters", {})
    return fields.positive("rope_theta", modern.get("rope_theta", fields.get("rope_theta")))
