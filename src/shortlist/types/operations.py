"""Operations: what an engine computes for one prompt, and how the values are checked, measured and stored."""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

V = TypeVar("V")

Ids = npt.NDArray[np.int32]
Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """The non-zero components of a vector over a vocabulary, by ascending index.

    Shapes:
        indices: [num non-zero] int32; values: [num non-zero] float32.
    """

    indices: Ids
    values: Vector


class ValueType(ABC, Generic[V]):
    """The type of an operation's values. Encoded values have a fixed byte order, so that machines can share them."""

    @abstractmethod
    def is_finite(self, value: V) -> bool:
        """Return whether all numbers of the value are finite."""

    def has_width(self, value: V, dimensions: int | None) -> bool:
        """Return whether the value is as wide as the model's vectors."""
        del value, dimensions
        return True

    @abstractmethod
    def num_bytes(self, value: V) -> int:
        """Return the memory of the value in bytes, without object overhead."""

    @abstractmethod
    def encode(self, value: V) -> bytes:
        """Return the value as bytes."""

    @abstractmethod
    def decode(self, data: bytes) -> V | None:
        """Return the value of bytes from `encode`; None for any other bytes and for numbers that are not finite."""


_SCORE = struct.Struct("<d")
_FLOAT32 = np.dtype("<f4")
_INT32 = np.dtype("<i4")


class ScoreType(ValueType[float]):
    """A score: one 64-bit number."""

    def is_finite(self, value: float) -> bool:
        """See `ValueType`."""
        return math.isfinite(value)

    def num_bytes(self, value: float) -> int:
        """Return 0: the cache's fixed cost per entry includes one number."""
        del value
        return 0

    def encode(self, value: float) -> bytes:
        """See `ValueType`."""
        return _SCORE.pack(value)

    def decode(self, data: bytes) -> float | None:
        """See `ValueType`."""
        if len(data) != _SCORE.size:
            return None
        score: float = _SCORE.unpack(data)[0]
        return score if math.isfinite(score) else None


class VectorType(ValueType[Vector]):
    """A dense vector: float32 numbers."""

    def has_width(self, value: Vector, dimensions: int | None) -> bool:
        """See `ValueType`."""
        return len(value) == dimensions

    def is_finite(self, value: Vector) -> bool:
        """See `ValueType`."""
        return bool(np.isfinite(value).all())

    def num_bytes(self, value: Vector) -> int:
        """See `ValueType`."""
        return value.nbytes

    def encode(self, value: Vector) -> bytes:
        """See `ValueType`."""
        return value.astype(_FLOAT32, copy=False).tobytes()

    def decode(self, data: bytes) -> Vector | None:
        """See `ValueType`."""
        if not data or len(data) % _FLOAT32.itemsize:
            return None
        vector = np.frombuffer(data, _FLOAT32).astype(np.float32)
        return vector if self.is_finite(vector) else None


class SparseVectorType(ValueType[SparseVector]):
    """A sparse vector: indices and values of its non-zero components."""

    def is_finite(self, value: SparseVector) -> bool:
        """See `ValueType`."""
        return bool(np.isfinite(value.values).all())

    def num_bytes(self, value: SparseVector) -> int:
        """See `ValueType`."""
        return value.indices.nbytes + value.values.nbytes

    def encode(self, value: SparseVector) -> bytes:
        """See `ValueType`."""
        return value.indices.astype(_INT32, copy=False).tobytes() + value.values.astype(_FLOAT32, copy=False).tobytes()

    def decode(self, data: bytes) -> SparseVector | None:
        """See `ValueType`."""
        half, rest = divmod(len(data), 2)
        if rest or half % _FLOAT32.itemsize:
            return None
        indices = np.frombuffer(data[:half], _INT32).astype(np.int32)
        vector = SparseVector(indices, np.frombuffer(data[half:], _FLOAT32).astype(np.float32))
        is_ascending = bool((np.diff(indices) > 0).all()) and (not half or indices[0] >= 0)
        return vector if is_ascending and self.is_finite(vector) else None


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """What an engine computes for one prompt. Compared by identity; pickled by name.

    Attributes:
        name: Its name in metric labels, cache keys, messages and the list of models.
        value_type: The type of its values.
    """

    name: str
    value_type: ValueType[Any]

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _operation, (self.name,)


RERANK: Final = Operation("rerank", ScoreType())
"""The raw relevance score of a query-document pair."""

EMBED: Final = Operation("embed", VectorType())
"""The unit vector of a text."""

EMBED_SPARSE: Final = Operation("embed_sparse", SparseVectorType())
"""The sparse vector of a text over the model's vocabulary."""

OPERATIONS: Final[dict[str, Operation]] = {operation.name: operation for operation in (RERANK, EMBED, EMBED_SPARSE)}
"""All operations by name, in the order of the list of models."""


def _operation(name: str) -> Operation:
    return OPERATIONS[name]


def operation_names(operations: Iterable[Operation]) -> list[str]:
    """Return the sorted names of operations."""
    return sorted(operation.name for operation in operations)


def in_order(operations: Iterable[Operation]) -> list[Operation]:
    """Return operations sorted by name."""
    return sorted(operations, key=lambda operation: operation.name)
