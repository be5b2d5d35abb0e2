"""The memory that a model needs, computed from its shapes."""

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


def library_plan(folder: Path, info: EngineInfo, settings: SchedulerSettings) -> MemoryPlan:
    """Return the memory plan of a model whose library decides how many texts it computes at once.

    Args:
        folder: The model's files.
        info: Its engine info.
        settings: The batch limits.
    """
    del settings
    num_parameters = sum(element_counts(folder))
    weights = num_parameters * (4 if info.dtype == "float32" else 2)
    return MemoryPlan(num_parameters=num_parameters, weights_bytes=weights, activations_bytes=None, formula=_LIBRARY)


def element_counts(folder: Path) -> Iterator[int]:
    """Yield the number of elements of every tensor, from the file headers; the loader has validated the files.

    Source: the safetensors format: eight bytes of length, little-endian, then that much JSON.
    """
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name not in {"__metadata__", _LM_HEAD}:
                yield math.prod(tensor["shape"])
