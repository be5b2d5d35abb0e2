"""An engine that knows the right answers of the self-test's pairs: what a good model looks like, and easy to spoil."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from shortlist.engine.base import EngineInfo
from shortlist.service.selftest_data import PAIRS
from shortlist.types import Batch, TextPrompt, Vector, WorkItem
from tests.support.fake_engine import FakeEngine

WIDTH = 64

SpoilScores = Callable[[list[float]], Sequence[float]]
SpoilVectors = Callable[[list[Vector]], Sequence[Vector]]


def _words(text: str) -> str:
    return " ".join(text.split())


DOCUMENTS = sorted({_words(text) for pair in PAIRS for text in (pair.right, pair.wrong)})
RIGHT = {_words(f"{pair.instruction or ''} {pair.query}"): _words(pair.right) for pair in PAIRS}


class OracleEngine(FakeEngine):
    """Says 5 of a right document and -5 of a wrong one; embeds a query as its right document. For `WordEncoder`'s prompts.

    Args:
        scores: Spoils what one step scored.
        vectors: Spoils what one step embedded.
    """

    def __init__(self, *, scores: SpoilScores = list, vectors: SpoilVectors = list, step_s: float = 0.0) -> None:
        super().__init__(step_s=step_s)
        self.scores = scores
        self.vectors = vectors

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, dtype="float32", dimensions=WIDTH)

    async def score(self, batch: Batch) -> Sequence[float]:
        await self._pretend(batch)
        return self.scores([_score(item) for item in batch.items])

    async def embed(self, batch: Batch) -> Sequence[Vector]:
        await self._pretend(batch)
        return self.vectors([_vector(item) for item in batch.items])


def _score(item: WorkItem) -> float:
    prompt = item.prompt
    assert isinstance(prompt, TextPrompt)
    # A document that was cut is the start of the one it was.
    return 5.0 if RIGHT[prompt.prefix.text].startswith(prompt.text) else -5.0


def _vector(item: WorkItem) -> Vector:
    prompt = item.prompt
    assert isinstance(prompt, TextPrompt)
    instruction = prompt.prefix.text.removeprefix("query:")
    document = RIGHT[_words(f"{instruction} {prompt.text}")] if prompt.prefix.text else prompt.text
    vector = np.zeros(WIDTH, dtype=np.float32)
    vector[DOCUMENTS.index(document)] = 1
    return vector
