"""The engine interface: prompts in, numbers out.

An engine handles tensors or an upstream, not requests, queues, caches or callers. One dispatcher drives it, with at most
`max_concurrent_batches` concurrent calls.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar
from uuid import uuid4

from shortlist.errors import EngineError
from shortlist.types import RERANK, Operation, Prompt

T = TypeVar("T")

Notify = Callable[[str], None]
"""Reports progress to the person who starts the server."""


class ScoreScale(StrEnum):
    """The scale of an engine's raw scores, which determines the mapping to 0..1."""

    LOG_ODDS = "log_odds"
    """Any real number; the relevance is its sigmoid."""
    COSINE = "cosine"
    """-1..1; the relevance is the cosine, negative ones being 0."""
    DOT = "dot"
    """Any real number, the dot product of vectors of any length; the relevance is s / (1 + s), negative ones being 0."""
    DISTANCE = "distance"
    """The negative distance of two vectors; the relevance is 1 / (1 + distance)."""


def sigmoid(odds: float) -> float:
    """Return the probability for log-odds, without overflow."""
    if odds >= 0:
        return 1.0 / (1.0 + math.exp(-odds))
    ratio = math.exp(odds)
    return ratio / (1.0 + ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """Properties of a loaded engine.

    Attributes:
        fingerprint: Identifies everything in the engine that can change a number: weights, dtype, implementation. Two engines
            with the same fingerprint give the same scores; it is part of every cache key.
        operations: Supported operations.
        max_model_len: Longest prompt in tokens, shared prefix included.
        model_limit: The model's own limit, before `max_model_len` applies; None if unknown.
        score_scale: Scale of rerank scores, and of comparisons of vectors.
        dimensions: Width of the vectors, or None without the embed operation.
        has_unit_vectors: Whether the model itself makes vectors of unit length.
        device: Device, for display ("cpu", "cuda:0").
        dtype: Data type, for display ("float32", "bfloat16").
        max_concurrent_batches: Batches that may run at once.
        ends_cancelled: Whether cancelling a call stops its computation.
    """

    fingerprint: str
    operations: frozenset[Operation]
    max_model_len: int
    model_limit: int | None = None
    score_scale: ScoreScale = ScoreScale.LOG_ODDS
    dimensions: int | None = None
    has_unit_vectors: bool = True
    device: str = "cpu"
    dtype: str = "float32"
    max_concurrent_batches: int = 1
    ends_cancelled: bool = False


def content_name(digest: str | None) -> str:
    """Return the id of a model's weights in a fingerprint: their digest, or a unique id.

    Engines do not hash files themselves: the hub package has hashed them already.
    """
    return digest or f"unread-{uuid4().hex}"


class Engine(ABC):
    """Computes batches of prompts.

    A cancelled call may finish its computation, but its result is dropped.
    """

    @property
    @abstractmethod
    def info(self) -> EngineInfo:
        """The engine's properties; constant once it is loaded."""

    @abstractmethod
    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        """Return one value per prompt, in order; `operation.value_type` defines its type.

        Raises:
            EngineOutOfMemory: the batch did not fit; the engine is healthy.
            EngineUnavailable: the engine has failed permanently.
            EngineError: the batch failed, or the engine does not support the operation; the engine is healthy.
        """

    @abstractmethod
    def close(self) -> None:
        """Free all resources. Idempotent."""

    async def explain(self, prompts: Sequence[Prompt]) -> Sequence[Mapping[str, float]]:
        """Return the components of every rerank score, by name; by default the score itself.

        A yes/no reranker returns the logits `yes` and `no`. For inspection, not for ranking: slower than `compute`, and not
        batched with it.

        Raises:
            As `compute`.
        """
        name = "logit" if self.info.score_scale is ScoreScale.LOG_ODDS else self.info.score_scale.value
        return [{name: score} for score in await self.compute(RERANK, prompts)]

    @property
    def replicas(self) -> Sequence[Engine]:
        """The replicas, one per device; each computes the same. By default the engine itself."""
        return (self,)

    async def wait_failed(self) -> None:  # noqa: B027 - the default: nothing to detect
        """Raise when the engine fails while idle; return when it is closed, or at once if it cannot detect that.

        Raises:
            EngineUnavailable: it has failed permanently.
        """

    def run_in_engine(self, function: Callable[[], T], *, timeout_s: float) -> T:
        """Run a function in the process that owns the device, and return its result. Blocks: not for an event loop.

        Args:
            function: Pickled by name, with its arguments if it is a `partial`, for an engine in another process.
            timeout_s: Timeout in another process.

        Raises:
            EngineUnavailable: the process has exited, or does not answer.
        """
        del timeout_s
        return function()

    def _require(self, operation: Operation) -> None:
        """Raise `EngineError` for an operation that the engine does not support."""
        if operation not in self.info.operations:
            raise EngineError(f"This engine does not {operation}.")
