"""The engine interface: prompts in, numbers out.

An engine handles tensors or an upstream, not requests, queues, caches or callers. One dispatcher drives it, with at most
`max_concurrent_batches` concurrent calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar, runtime_checkable
from uuid import uuid4

from shortlist.types import Batch, Task, Vector

T = TypeVar("T")

Notify = Callable[[str], None]
"""Reports progress to the person who starts the server."""


class ScoreScale(StrEnum):
    """The scale of an engine's raw scores, which determines the mapping to 0..1."""

    LOG_ODDS = "log_odds"
    """Any real number; the relevance is its sigmoid."""
    COSINE = "cosine"
    """-1..1; the relevance is the cosine, negative ones being 0."""


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
        tasks: Supported tasks.
        max_model_len: Longest prompt in tokens, shared prefix included.
        model_limit: The model's own limit, before `max_model_len` applies; None if unknown.
        score_scale: Scale of `score`; meaningless without the rerank task.
        dimensions: Width of the vectors, or None without the embed task.
        device: Device, for display ("cpu", "cuda:0").
        dtype: Data type, for display ("float32", "bfloat16").
        max_concurrent_batches: Batches that may run at once.
        ends_cancelled: Whether cancelling a call stops its computation.
    """

    fingerprint: str
    tasks: frozenset[Task]
    max_model_len: int
    model_limit: int | None = None
    score_scale: ScoreScale = ScoreScale.LOG_ODDS
    dimensions: int | None = None
    device: str = "cpu"
    dtype: str = "float32"
    max_concurrent_batches: int = 1
    ends_cancelled: bool = False


def content_name(digest: str | None) -> str:
    """Return the id of a model's weights in a fingerprint: their digest, or a unique id.

    Engines do not hash files themselves: the hub package has hashed them already.
    """
    return digest or f"unread-{uuid4().hex}"


class Engine(Protocol):
    """Computes batches.

    A cancelled call may finish its computation, but its result is dropped.
    """

    @property
    def info(self) -> EngineInfo:
        """The engine's properties; constant once it is loaded."""
        ...

    async def score(self, batch: Batch) -> Sequence[float]:
        """Return one raw score per item, in the batch's order.

        Raises:
            EngineOutOfMemory: the batch did not fit; the engine is healthy.
            EngineUnavailable: the engine has failed permanently.
            EngineError: the batch failed; the engine is healthy.
        """
        ...

    async def embed(self, batch: Batch) -> Sequence[Vector]:
        """Return one unit-length vector per item, in the batch's order.

        Shapes:
            each vector: [info.dimensions] float32.

        Raises:
            As `score`.
        """
        ...

    async def explain(self, batch: Batch) -> Sequence[Mapping[str, float]]:
        """Return the components of every score of a rerank batch, by name.

        A yes/no reranker returns the logits `yes` and `no`. For inspection, not for ranking: slower than `score`, and not
        batched with it.

        Raises:
            As `score`.
        """
        ...

    def close(self) -> None:
        """Free all resources. Idempotent."""
        ...


@runtime_checkable
class Supervised(Protocol):
    """An engine that detects its own failure while idle."""

    async def wait_failed(self) -> None:
        """Raise when the engine fails; return when it is closed.

        Raises:
            EngineUnavailable: it has failed permanently.
        """
        ...


@runtime_checkable
class Replicated(Protocol):
    """An engine with one replica per device."""

    @property
    def replicas(self) -> Sequence[Engine]:
        """The replicas; each computes the same."""
        ...


def replicas_of(engine: Engine) -> Sequence[Engine]:
    """Return the replicas of an engine; the engine itself if it has none."""
    return engine.replicas if isinstance(engine, Replicated) else (engine,)


@runtime_checkable
class RemoteExecution(Protocol):
    """An engine in another process, which owns its device."""

    def run_in_engine(self, function: Callable[[], T], *, timeout_s: float) -> T:
        """Run a function in that process and return its result. Blocks: not for an event loop.

        Args:
            function: Pickled by name, with its arguments if it is a `partial`.
            timeout_s: Timeout.

        Raises:
            EngineUnavailable: the process has exited, or does not answer.
        """
        ...


def run_in_engine(engine: Engine, function: Callable[[], T], *, timeout_s: float) -> T:
    """Run a function in the engine's process, which is usually this one. See `RemoteExecution`."""
    return engine.run_in_engine(function, timeout_s=timeout_s) if isinstance(engine, RemoteExecution) else function()
