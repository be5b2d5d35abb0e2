"""The contract between the scheduler and any engine: prompts in, numbers out.

An engine knows tensors or an upstream; it knows nothing of requests, queues, caches or callers. It is driven by one
dispatcher and may assume that at most `max_concurrent_batches` calls are under way at once.
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
"""Tells the person who starts the server what is going on."""


class ScoreScale(StrEnum):
    """What an engine's raw scores mean, and so how they become a relevance in 0..1."""

    LOG_ODDS = "log_odds"
    """Any real number; the relevance is its sigmoid."""
    COSINE = "cosine"
    """-1..1; the relevance is the cosine, negative ones being 0."""


def sigmoid(odds: float) -> float:
    """Return the chance that log-odds stand for, without overflow."""
    if odds >= 0:
        return 1.0 / (1.0 + math.exp(-odds))
    ratio = math.exp(odds)
    return ratio / (1.0 + ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine says of itself once it is loaded.

    Attributes:
        fingerprint: Names everything inside the engine that can change a number: weights, dtype, implementation. Two engines
            with the same fingerprint give the same scores; it is part of every cache key.
        tasks: What it can do.
        max_model_len: Longest prompt in tokens, head included.
        model_limit: Longest prompt that the model itself reads, whatever it was told to; None when it does not say.
        score_scale: What `score` returns; meaningless when it cannot rerank.
        dimensions: Width of its vectors, or None when it cannot embed.
        device: Where it runs, for people ("cpu", "cuda:0").
        dtype: What it computes in, for people ("float32", "bfloat16").
        max_concurrent_batches: How many batches may be under way at once.
        ends_cancelled: Whether cancelling a call ends its computation, so that it is worth doing.
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
    """Return what names a model's bytes in a fingerprint: their digest, or a name that no other engine has.

    Engines do not read bytes to name them: whoever checked the files has read every one of them already.
    """
    return digest or f"unread-{uuid4().hex}"


class Engine(Protocol):
    """Computes batches.

    A cancelled call may finish its computation, but its result is dropped.
    """

    @property
    def info(self) -> EngineInfo:
        """What this engine is; constant from the moment it is loaded."""
        ...

    async def score(self, batch: Batch) -> Sequence[float]:
        """Return one raw score per item, in the batch's order.

        Raises:
            EngineOutOfMemory: the batch did not fit; the engine is well.
            EngineUnavailable: the engine is gone for good.
            EngineError: this batch could not be computed; the engine is well.
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
        """Return, for every item of a rerank batch, the named numbers that its score is made of.

        A reranker that answers yes or no has the logits `yes` and `no`, others have what they have. For people, not for
        ranking: slower than `score`, and not batched with it.

        Raises:
            As `score`.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds. Calling it twice is harmless."""
        ...


@runtime_checkable
class Supervised(Protocol):
    """An engine that can go while nobody asks it anything, and notices."""

    async def wait_failed(self) -> None:
        """Return only by raising, once the engine is gone; or when it was closed.

        Raises:
            EngineUnavailable: it is gone for good.
        """
        ...


@runtime_checkable
class Replicated(Protocol):
    """An engine that computes on several devices, by one engine for each."""

    @property
    def replicas(self) -> Sequence[Engine]:
        """Those engines, each of which computes the same."""
        ...


def replicas_of(engine: Engine) -> Sequence[Engine]:
    """Return the engines for the single devices that an engine computes on; itself, if that is one."""
    return engine.replicas if isinstance(engine, Replicated) else (engine,)


@runtime_checkable
class RemoteExecution(Protocol):
    """An engine in another process, which alone is to touch its device."""

    def run_in_engine(self, function: Callable[[], T], *, timeout_s: float) -> T:
        """Return what a function returns in that process; not to be called on an event loop.

        Args:
            function: Is sent by name, with its arguments if it is a `partial`.
            timeout_s: How long that may take.

        Raises:
            EngineUnavailable: the process is gone, or does not answer.
        """
        ...


def run_in_engine(engine: Engine, function: Callable[[], T], *, timeout_s: float) -> T:
    """Return what a function returns in the process that an engine is in: in this one, mostly. See `RemoteExecution`."""
    return engine.run_in_engine(function, timeout_s=timeout_s) if isinstance(engine, RemoteExecution) else function()
