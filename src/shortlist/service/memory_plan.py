"""Computes the memory that a model needs from its shapes, before it is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shortlist.config import SchedulerSettings
from shortlist.engine.base import EngineInfo

_LM_HEAD: Final = "lm_head.weight"
"""The LM head: a reranker keeps two of its rows, an embedder none."""

_LIBRARY: Final = "its library computes a few texts at a time, with its own limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """The memory that a model needs.

    Attributes:
        num_parameters: Parameters in memory.
        weights_bytes: Their size in the compute dtype.
        activations_bytes: Peak of one batch; None if the library decides.
        formula: How the peak follows from the model config.
    """

    num_parameters: int
    weights_bytes: int
    activations_bytes: int | None
    formula: str

    @property
    def summary(self) -> str:
        """The plan in one line."""
        weights = f"{self.weights_bytes / 1e9:.2f} GB of weights"
        if self.activations_bytes is None:
            return f"{weights}; {self.formula}"
        return f"{weights}, and at most {self.activations_bytes / 1e9:.2f} GB for a full batch, independent of the queue"


def memory_plan(folder: Path, info: EngineInfo, settings: SchedulerSettings, *, is_native: bool) -> MemoryPlan:
    """Return the memory plan of a loaded model.

    Args:
        folder: The model's files.
        info: Its engine info.
        settings: The batch limits.
        is_native: Whether the native engine runs it; only its activations can be computed.
    """
    num_parameters = sum(_counts(folder))
    if not is_native:
        weights = num_parameters * (4 if info.dtype == "float32" else 2)
        return MemoryPlan(num_parameters=num_parameters, weights_bytes=weights, activations_bytes=None, formula=_LIBRARY)
    from shortlist.engine.native.memory import BatchLimits, activation_bytes, weight_bytes
    from shortlist.engine.native.model_config import Qwen3Config

    config = Qwen3Config.read(folder)
    limits = BatchLimits(settings.max_batch_tokens, settings.max_batch_items, info.max_model_len)
    activations, formula = activation_bytes(config, dtype=info.dtype, device=info.device, limits=limits)
    weights = weight_bytes(config, num_parameters, info.dtype)
    return MemoryPlan(num_parameters=num_parameters, weights_bytes=weights, activations_bytes=activations, formula=formula)


def _counts(folder: Path) -> Iterator[int]:
    """Yield the number of elements of every tensor, from the file headers; the loader has validated the files.

    Source: the safetensors format: eight bytes of length, little-endian, then that much JSON.
    """
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name not in {"__metadata__", _LM_HEAD}:
                yield math.prod(tensor["shape"])
