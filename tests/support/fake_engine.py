"""A deterministic engine that computes nothing, with programmable speed and faults.

For tests and load experiments: the same contract as the real ones, none of their cost. Scores depend on the prompt alone
(word overlap for text, a hash for token ids), so order, batching and caching can be checked exactly.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from shortlist.engine.base import Engine, EngineInfo
from shortlist.types import EMBED, EMBED_SPARSE, RERANK, Batch, Operation, Prompt, SparseVector, TextPrompt, Vector, WorkItem

DIMENSIONS = 8

Fault = Callable[[Batch], None]
"""Called with every batch before it is computed; raises what the engine should raise."""


class FakeEngine(Engine):
    """Computes `score` and `embed`, which tests override.

    Args:
        step_s: Seconds that every step takes.
        token_s: Seconds that every token adds.
        fault: Decides which batches fail, and how.
        max_model_len: Longest prompt in tokens.
        max_concurrent_batches: How many steps may overlap.
        operations: What it can compute.
    """

    def __init__(
        self,
        *,
        step_s: float = 0.0,
        token_s: float = 0.0,
        fault: Fault | None = None,
        max_model_len: int = 8192,
        max_concurrent_batches: int = 1,
        operations: frozenset[Operation] = frozenset({RERANK, EMBED}),
    ) -> None:
        self.step_s = step_s
        self.token_s = token_s
        self.fault = fault
        self.batches: list[Batch] = []
        self.is_closed = False
        self._info = EngineInfo(
            fingerprint="fake",
            operations=operations,
            max_model_len=max_model_len,
            dimensions=DIMENSIONS,
            device="none",
            dtype="none",
            max_concurrent_batches=max_concurrent_batches,
        )

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        """Call the method of the operation with a batch."""
        self._require(operation)
        batch = Batch(operation, tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(prompts)))
        return await {RERANK: self.score, EMBED: self.embed, EMBED_SPARSE: self.embed_sparse}[operation](batch)

    async def score(self, batch: Batch) -> Sequence[float]:
        """Return a log-odds per item that depends on its prompt alone."""
        await self._pretend(batch)
        return [log_odds(item.prompt) for item in batch.items]

    async def embed(self, batch: Batch) -> Sequence[Vector]:
        """Return a unit vector per item that depends on its prompt alone."""
        await self._pretend(batch)
        return [vector(item.prompt) for item in batch.items]

    async def embed_sparse(self, batch: Batch) -> Sequence[SparseVector]:
        """Return the components of every unit vector that are not 0."""
        vectors = await self.embed(batch)
        return [SparseVector(np.flatnonzero(each).astype(np.int32), each[each != 0.0]) for each in vectors]

    async def explain(self, prompts: Sequence[Prompt]) -> Sequence[Mapping[str, float]]:
        """Return half of every log-odds as yes, and the other half, negative, as no."""
        return [{"yes": score / 2, "no": -score / 2} for score in await self.compute(RERANK, prompts)]

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True

    async def _pretend(self, batch: Batch) -> None:
        self.batches.append(batch)
        await asyncio.sleep(self.step_s + self.token_s * batch.num_tokens)
        if self.fault is not None:
            self.fault(batch)


def log_odds(prompt: Prompt) -> float:
    """Return what the fake scores this prompt: shared words for text, a hash for ids; -8..8."""
    if isinstance(prompt, TextPrompt):
        query, document = set(prompt.prefix.text.lower().split()), set(prompt.text.lower().split())
        return 16.0 * len(query & document) / max(len(query), 1) - 8.0
    return 16.0 * float(_uniform(prompt)[0]) - 8.0


def vector(prompt: Prompt) -> Vector:
    """Return what the fake embeds this prompt to: by a hash, a unit vector of 8 dimensions.

    Four components are 0.5 or -0.5 and the others 0: every dot product is exact, so all machines write the same digits.
    """
    uniform = _uniform(prompt)
    direction = np.where(uniform < np.median(uniform), 0.0, 0.5)
    return np.where(np.modf(uniform * 256)[0] < 0.5, direction, -direction).astype(np.float32)


def _uniform(prompt: Prompt) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if isinstance(prompt, TextPrompt):
        data = f"{prompt.prefix.text}\0{prompt.text}".encode()
    else:
        data = prompt.prefix.ids.tobytes() + b"\0" + prompt.ids.tobytes()
    digest = hashlib.sha256(data).digest()
    return np.frombuffer(digest, np.uint32)[:DIMENSIONS] / np.float64(2**32)
