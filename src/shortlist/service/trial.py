"""What the self-test has a model compute: the bundled pairs as prompts, in the batches whose values are then compared.

Knows how to ask an engine and how to keep what it says; judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.engine.base import Engine
from shortlist.errors import BadScore, CallerError
from shortlist.service.samples import Pair
from shortlist.text.base import Encoder
from shortlist.types import NO_TRUNCATION, Batch, OverflowPolicy, Prompt, Task, WorkItem

Values = npt.NDArray[np.float64]
"""What an engine said of several prompts, one row each: a score alone, or a vector. Exact for 32-bit floats."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where among a trial's prompts a pair's texts are. A reranker reads the query with each document, so it has none."""

    pair: Pair
    right: int
    wrong: int
    query: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The pairs that a model can read, as prompts."""

    task: Task
    prompts: tuple[Prompt, ...]
    places: tuple[Place, ...]

    @property
    def picked(self) -> tuple[int, ...]:
        """The right and the wrong document of the first pair, which are computed in several ways."""
        return (self.places[0].right, self.places[0].wrong)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Measured:
    """What the engine said.

    Attributes:
        mixed: Of every prompt, in batches of all of them.
        once: Of the picked prompts, in a batch of their own.
        turned: As `once`, asked in the opposite order, and put back into this one.
        alone: Of the picked prompts, each in a batch of its own.
        again: Of the first picked prompt, alone once more.
    """

    mixed: Values
    once: Values
    turned: Values
    alone: Values
    again: Values

    @property
    def all(self) -> Values:
        """Everything, one row for every value."""
        return np.concatenate([self.mixed, self.once, self.turned, self.alone, self.again])


def rerank_trial(encoder: Encoder, pairs: Sequence[Pair], most: int) -> Trial:
    """Return the first pairs as a reranker reads them, but for those that do not fit or need what it does not take."""
    prompts: list[Prompt] = []
    places: list[Place] = []
    for pair in pairs:
        found = _pair_prompts(encoder, pair) if len(places) < most else []
        if found:
            places.append(Place(pair, right=len(prompts), wrong=len(prompts) + 1))
            prompts += found
    return Trial(Task.RERANK, tuple(prompts), tuple(places))


def _pair_prompts(encoder: Encoder, pair: Pair) -> list[Prompt]:
    try:
        found = encoder.encode_pairs(
            pair.query,
            (pair.right, pair.wrong),
            instruction=pair.instruction,
            on_overflow=OverflowPolicy.ERROR,
            truncation=pair.truncation,
        )
        return [each.prompts[0] for each in found]
    except CallerError:
        return []


def embed_trial(encoder: Encoder, pairs: Sequence[Pair], most: int) -> Trial:
    """Return the first pairs as an embedder reads them, but for those above, and those that are there to be cut."""
    prompts: list[Prompt] = []
    places: list[Place] = []
    for pair in pairs:
        is_asked = len(places) < most and pair.truncation == NO_TRUNCATION
        found = _text_prompts(encoder, pair) if is_asked else []
        if found:
            at = len(prompts)
            places.append(Place(pair, query=at, right=at + 1, wrong=at + 2))
            prompts += found
    return Trial(Task.EMBED, tuple(prompts), tuple(places))


def _text_prompts(encoder: Encoder, pair: Pair) -> list[Prompt]:
    try:
        query = encoder.encode_texts((pair.query,), is_query=True, instruction=pair.instruction, truncate=False)
        documents = encoder.encode_texts((pair.right, pair.wrong), truncate=False)
        return [each.prompts[0] for each in (*query, *documents)]
    except CallerError:
        return []


async def measure(engine: Engine, trial: Trial, *, max_batch_tokens: int) -> Measured:
    """Have the engine compute a trial in every way that is compared.

    Args:
        engine: The engine.
        trial: At least one pair.
        max_batch_tokens: The largest batch it is ever asked for.

    Raises:
        EngineError: it could not, or gave something that is not one value per prompt.
    """
    steps = [await _values(engine, trial.task, step) for step in _steps(trial.prompts, max_batch_tokens)]
    picked = [trial.prompts[index] for index in trial.picked]
    return Measured(
        mixed=np.concatenate(steps),
        once=await _values(engine, trial.task, picked),
        turned=(await _values(engine, trial.task, picked[::-1]))[::-1],
        alone=np.concatenate([await _values(engine, trial.task, [prompt]) for prompt in picked]),
        again=await _values(engine, trial.task, picked[:1]),
    )


async def _values(engine: Engine, task: Task, prompts: Sequence[Prompt]) -> Values:
    batch = Batch(task, tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(prompts)))
    found = await engine.score(batch) if task is Task.RERANK else await engine.embed(batch)
    rows = [np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in found]
    shape = (1,) if task is Task.RERANK else (engine.info.dimensions,)
    if len(rows) != len(prompts) or any(row.shape != shape for row in rows):
        raise BadScore(f"The engine was given {len(prompts)} texts and did not return one {_VALUE[task]} for each.")
    return np.stack(rows)


_VALUE = {Task.RERANK: "score", Task.EMBED: "vector of its own width"}


def _steps(prompts: Sequence[Prompt], max_batch_tokens: int) -> Iterator[list[Prompt]]:
    """Cut the prompts into batches that the scheduler could have formed."""
    step: list[Prompt] = []
    left = max_batch_tokens
    for prompt in prompts:
        cost = prompt.prefix.num_tokens + prompt.num_tokens
        if step and cost > left:
            yield step
            step, left = [], max_batch_tokens
        step.append(prompt)
        left -= cost
    if step:
        yield step
