"""The batches that the self-test computes: the built-in pairs as prompts, in several batch compositions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shortlist.engine.base import Engine
from shortlist.errors import BadScore, CallerError
from shortlist.service.selftest_data import SelfTestPair
from shortlist.text.encoder import Encoder
from shortlist.types import EMBED, EMBED_SPARSE, NO_TRUNCATION, RERANK, InputType, Operation, OverflowPolicy, Prompt

FOLDED_WIDTH: Final = 4096
"""Width that sparse vectors are folded to, whatever the size of the vocabulary."""

Values = npt.NDArray[np.float64]
"""Values of several prompts, one row each: a score or a vector. Exact for 32-bit floats."""


@dataclass(frozen=True, slots=True)
class PairPosition:
    """Positions of a pair's texts among the case's prompts; rerankers have no separate query."""

    pair: SelfTestPair
    right: int
    wrong: int
    query: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SelfTestCase:
    """Pairs as prompts of one model."""

    operation: Operation
    prompts: tuple[Prompt, ...]
    positions: tuple[PairPosition, ...]

    @property
    def compared(self) -> tuple[int, ...]:
        """The first pair's right and wrong document, which are computed in several batch compositions."""
        return (self.positions[0].right, self.positions[0].wrong)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MeasuredValues:
    """The values that the engine returned.

    Attributes:
        mixed: All prompts, in full batches.
        once: The compared prompts, in one batch.
        reversed_order: As `once`, computed in reverse order.
        alone: The compared prompts, one batch each.
        again: The first compared prompt, alone again.
    """

    mixed: Values
    once: Values
    reversed_order: Values
    alone: Values
    again: Values

    @property
    def all(self) -> Values:
        """All values, one row each."""
        return np.concatenate([self.mixed, self.once, self.reversed_order, self.alone, self.again])


def rerank_case(encoder: Encoder, pairs: Sequence[SelfTestPair], most: int) -> SelfTestCase:
    """Return the first pairs as rerank prompts, without pairs that do not fit or that the model does not support."""
    prompts: list[Prompt] = []
    positions: list[PairPosition] = []
    for pair in pairs:
        found = _pair_prompts(encoder, pair) if len(positions) < most else []
        if found:
            positions.append(PairPosition(pair, right=len(prompts), wrong=len(prompts) + 1))
            prompts += found
    return SelfTestCase(RERANK, tuple(prompts), tuple(positions))


def _pair_prompts(encoder: Encoder, pair: SelfTestPair) -> list[Prompt]:
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


def embed_case(encoder: Encoder, pairs: Sequence[SelfTestPair], most: int, *, operation: Operation = EMBED) -> SelfTestCase:
    """Return the first pairs as embedding prompts, without pairs that do not fit, are unsupported, or test truncation."""
    prompts: list[Prompt] = []
    positions: list[PairPosition] = []
    for pair in pairs:
        is_selected = len(positions) < most and pair.truncation == NO_TRUNCATION
        found = _text_prompts(encoder, pair) if is_selected else []
        if found:
            first = len(prompts)
            positions.append(PairPosition(pair, query=first, right=first + 1, wrong=first + 2))
            prompts += found
    return SelfTestCase(operation, tuple(prompts), tuple(positions))


def _text_prompts(encoder: Encoder, pair: SelfTestPair) -> list[Prompt]:
    try:
        query = encoder.encode_texts((pair.query,), input_type=InputType.QUERY, instruction=pair.instruction, truncate=False)
        documents = encoder.encode_texts((pair.right, pair.wrong), truncate=False)
        return [each.prompts[0] for each in (*query, *documents)]
    except CallerError:
        return []


async def measure(engine: Engine, case: SelfTestCase, *, max_batch_tokens: int) -> MeasuredValues:
    """Compute a case in all compared batch compositions.

    Args:
        engine: The engine.
        case: At least one pair.
        max_batch_tokens: Token limit of a batch.

    Raises:
        EngineError: the engine failed, or did not return one value per prompt.
    """
    batches = [await _values(engine, case.operation, batch) for batch in _batches(case.prompts, max_batch_tokens)]
    compared = [case.prompts[index] for index in case.compared]
    return MeasuredValues(
        mixed=np.concatenate(batches),
        once=await _values(engine, case.operation, compared),
        reversed_order=(await _values(engine, case.operation, compared[::-1]))[::-1],
        alone=np.concatenate([await _values(engine, case.operation, [prompt]) for prompt in compared]),
        again=await _values(engine, case.operation, compared[:1]),
    )


async def _values(engine: Engine, operation: Operation, prompts: Sequence[Prompt]) -> Values:
    found = await engine.compute(operation, prompts)
    rows = [np.atleast_1d(np.asarray(_row(operation, value), dtype=np.float64)) for value in found]
    width, name = {
        RERANK: (1, "score"),
        EMBED: (engine.info.dimensions, "vector of the declared width"),
        EMBED_SPARSE: (FOLDED_WIDTH, "sparse vector"),
    }[operation]
    if len(rows) != len(prompts) or any(row.shape != (width,) for row in rows):
        raise BadScore(f"The engine got {len(prompts)} texts and did not return one {name} for each.")
    return np.stack(rows)


def _row(operation: Operation, value: Any) -> Any:
    """Return a value as numbers; a sparse vector with its indices folded, so that all rows have one width."""
    if operation is not EMBED_SPARSE:
        return value
    return np.bincount(value.indices % FOLDED_WIDTH, weights=value.values, minlength=FOLDED_WIDTH)


def _batches(prompts: Sequence[Prompt], max_batch_tokens: int) -> Iterator[list[Prompt]]:
    """Split the prompts into batches as the scheduler could form them."""
    batch: list[Prompt] = []
    left = max_batch_tokens
    for prompt in prompts:
        cost = prompt.num_tokens
        if batch and cost > left:
            yield batch
            batch, left = [], max_batch_tokens
        batch.append(prompt)
        left -= cost
    if batch:
        yield batch
