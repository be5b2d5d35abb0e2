"""What things are called, and the two kinds of arrays."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Vector = npt.NDArray[np.float32]


class Task(StrEnum):
    """What a model can be asked to do."""

    RERANK = "rerank"
    EMBED = "embed"


class Overflow(StrEnum):
    """What becomes of a document that is longer than the model reads."""

    TRUNCATE = "truncate"
    """Its end is cut."""
    CHUNK = "chunk"
    """It is read in overlapping windows, and its best window counts."""
    ERROR = "error"
    """The request is refused."""


class Priority(StrEnum):
    """How urgent a request is, beside others."""

    INTERACTIVE = "interactive"
    """Somebody waits for it."""
    BATCH = "batch"
    """It takes what the interactive ones leave, and a small share when they leave nothing."""
