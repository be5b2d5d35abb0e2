"""The self-test: a model proves on its device and dtype that its numbers are right before it serves.

The module defines the checks and their rounding tolerances. It calls one engine and one encoder directly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np

from shortlist.engine.base import EngineInfo, ScoreScale
from shortlist.errors import CallerError, EngineError
from shortlist.scheduler.served_model import ServedModel
from shortlist.service.selftest_batches import (
    MeasuredValues,
    PairPosition,
    SelfTestCase,
    Values,
    embed_case,
    measure,
    rerank_case,
)
from shortlist.service.selftest_data import PAIRS, PAIRS_BY_PRIORITY, SelfTestPair
from shortlist.service.selftest_report import CheckResult, CheckStatus, SelfTest, SelfTestCheck
from shortlist.text.encoder import Encoder
from shortlist.types import EMBED, EMBED_SPARSE, RERANK, Encoded, Operation, TokenPrompt, in_order

# -- tolerances ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """Largest differences between two computations of one prompt.

    Rounding of log-odds grows with their size. So their tolerance is a share of the range between the highest and the lowest
    score of the case, and at least `log_odds`.

    Units:
        log_odds, cosine: as the scores; vector: 1 - cosine of the two vectors.
    """

    log_odds: float
    share: float
    cosine: float
    vector: float


TOLERANCES: Final[Mapping[str, Tolerances]] = MappingProxyType(
    {
        "float32": Tolerances(log_odds=1e-4, share=1e-5, cosine=1e-5, vector=1e-6),
        "float16": Tolerances(log_odds=0.01, share=0.02, cosine=0.002, vector=1e-4),
        "bfloat16": Tolerances(log_odds=0.05, share=0.1, cosine=0.01, vector=1e-3),
        "float8_e4m3fn": Tolerances(log_odds=0.25, share=0.1, cosine=0.02, vector=1e-2),
    }
)
WIDEST: Final = TOLERANCES["bfloat16"]
"""Tolerances of dtypes that are not listed."""

UNIT_BOUND: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Margins:
    """Smallest margins of right over wrong documents: for one pair to count, and on average."""

    pair: float
    mean: float


MARGINS: Final[Mapping[ScoreScale, Margins]] = MappingProxyType(
    {
        ScoreScale.LOG_ODDS: Margins(pair=1.0, mean=2.0),
        ScoreScale.COSINE: Margins(pair=0.02, mean=0.08),
        ScoreScale.DOT: Margins(pair=0.5, mean=1.0),
        ScoreScale.DISTANCE: Margins(pair=0.02, mean=0.08),
    }
)

PAIRS_PER_MISS: Final = MappingProxyType({True: 6, False: 3})
"""Pairs per permitted miss, by whether the model must understand (`Expectations.understands`).

A good model may miss a topic; a wrongly served one misses everywhere. Three in ten pairs are Chinese, which a model without
expectations need not support.
"""

MIN_PAIRS: Final = 6
"""With fewer pairs, a random model could pass."""


# -- run ----------------------------------------------------------------------------------------------------------------


async def run_selftest(
    served: ServedModel, *, has_random_weights: bool, max_batch_tokens: int, max_pairs: int = len(PAIRS)
) -> SelfTest:
    """Test one model before it serves.

    Args:
        served: The model.
        has_random_weights: Whether its weights are random; then the meaning check is skipped.
        max_batch_tokens: Token limit of a batch.
        max_pairs: Number of pairs to compute at most.
    """
    started_s = time.monotonic()
    results: list[CheckResult] = []
    for operation in in_order(served.card.operations & _TESTS.keys()):
        case = await asyncio.to_thread(_TESTS[operation].make_case, served.encoder, PAIRS_BY_PRIORITY, max_pairs)
        results += await _check_replicas(served, case, has_random_weights=has_random_weights, max_batch_tokens=max_batch_tokens)
        results.append(await asyncio.to_thread(_suffix_kept, served, operation))
    spent_s = time.monotonic() - started_s
    return SelfTest(model=served.name, results=tuple(results), duration_s=spent_s, remedy=served.expectations.remedy)


async def _check_replicas(
    served: ServedModel, case: SelfTestCase, *, has_random_weights: bool, max_batch_tokens: int
) -> list[CheckResult]:
    """Check every replica; return the results of the first failing one, otherwise of the first."""
    parts = served.engine.replicas
    runs = (
        _measured(replace(served, engine=part), case, has_random_weights=has_random_weights, max_batch_tokens=max_batch_tokens)
        for part in parts
    )
    found = await asyncio.gather(*runs)
    for part, results in zip(parts, found, strict=True):
        if len(parts) > 1 and any(result.status is CheckStatus.FAILED for result in results):
            return [replace(result, detail=f"on {part.info.device}, {result.detail}") for result in results]
    return found[0]


async def _measured(
    served: ServedModel, case: SelfTestCase, *, has_random_weights: bool, max_batch_tokens: int
) -> list[CheckResult]:
    """Return the results of the checks of one engine."""
    if not case.positions:
        return [_too_few(served, case)]
    try:
        measured = await measure(served.engine, case, max_batch_tokens=max_batch_tokens)
    except EngineError as error:
        return [
            CheckResult(
                SelfTestCheck.FINITE,
                case.operation,
                CheckStatus.FAILED,
                f"the test texts could not be computed: {error.message}",
            )
        ]
    finite = _finite(measured, case.operation)
    if finite.status is CheckStatus.FAILED:
        return [finite]
    info, spread = served.engine.info, float(np.ptp(measured.mixed))
    return [
        finite,
        *([_unit_length(measured, case.operation)] if _TESTS[case.operation].has_length and info.has_unit_vectors else []),
        _repeatable(measured, case.operation),
        _order_kept(measured, case.operation),
        _close(SelfTestCheck.ALONE, measured.mixed[list(case.compared)], measured.alone, case.operation, info, spread),
        _random_weights(case.operation) if has_random_weights else _meaning(served, case, measured.mixed),
    ]


# -- checks of values ---------------------------------------------------------------------------------------------------


def _checked(check: SelfTestCheck, operation: Operation, is_good: bool, detail: str) -> CheckResult:
    return CheckResult(check, operation, CheckStatus.PASSED if is_good else CheckStatus.FAILED, detail)


def _finite(measured: MeasuredValues, operation: Operation) -> CheckResult:
    num_values = len(measured.all)
    num_finite = int(np.count_nonzero(np.isfinite(measured.all).all(axis=1)))
    detail = f"{num_finite} of {num_values} values are finite numbers"
    return _checked(SelfTestCheck.FINITE, operation, num_finite == num_values, detail)


def _unit_length(measured: MeasuredValues, operation: Operation) -> CheckResult:
    off = float(np.abs(np.linalg.norm(measured.all, axis=1) - 1).max())
    return _checked(SelfTestCheck.UNIT_LENGTH, operation, off <= UNIT_BOUND, f"lengths differ from 1 by at most {off:.1e}")


def _repeatable(measured: MeasuredValues, operation: Operation) -> CheckResult:
    is_same = bool((measured.alone[: len(measured.again)] == measured.again).all())
    detail = f"the same batch again gives {'identical bits' if is_same else 'other values'}"
    return _checked(SelfTestCheck.REPEATABLE, operation, is_same, detail)


def _order_kept(measured: MeasuredValues, operation: Operation) -> CheckResult:
    """Check that each of two prompts, in either order, gets the value nearest to the one it gets alone."""
    is_kept = all(
        _gap(measured.alone, each) <= _gap(measured.alone, each[::-1]) for each in (measured.once, measured.reversed_order)
    )
    detail = f"two prompts in either order get {'each its own value' if is_kept else 'the value of the other'}"
    return _checked(SelfTestCheck.ORDER_KEPT, operation, is_kept, detail)


def _gap(one: Values, other: Values) -> float:
    return float(np.abs(one - other).max())


def _close(
    check: SelfTestCheck, one: Values, other: Values, operation: Operation, info: EngineInfo, spread: float
) -> CheckResult:
    """Compare two computations of the same prompts."""
    gap, bound, unit = _TESTS[operation].compare(one, other, info, spread)
    detail = f"the largest difference is {gap:.1e} {unit}; the tolerance of {info.dtype} is {bound:.1e}"
    return _checked(check, operation, gap <= bound, detail)


def _compare_scores(one: Values, other: Values, info: EngineInfo, spread: float) -> tuple[float, float, str]:
    bounds = TOLERANCES.get(info.dtype, WIDEST)
    bound = bounds.cosine if info.score_scale is ScoreScale.COSINE else max(bounds.log_odds, bounds.share * spread)
    return _gap(one, other), bound, _unit(info.score_scale)


def _compare_vectors(one: Values, other: Values, info: EngineInfo, _spread: float) -> tuple[float, float, str]:
    return _angle(one, other), TOLERANCES.get(info.dtype, WIDEST).vector, "1 - cosine"


def _unit(scale: ScoreScale) -> str:
    return scale.value.replace("_", "-")


def _angle(one: Values, other: Values) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    if not lengths.all():
        return 1.0
    return float((1 - (one * other).sum(axis=1) / lengths).max())


def _random_weights(operation: Operation) -> CheckResult:
    return CheckResult(SelfTestCheck.MEANING, operation, CheckStatus.SKIPPED, "random_weights is set, so meaning is not tested")


def _meaning(served: ServedModel, case: SelfTestCase, mixed: Values) -> CheckResult:
    """Check that right documents score above wrong ones; a warning for models of other domains."""
    if len(case.positions) < MIN_PAIRS:
        return _too_few(served, case)
    scale = _TESTS[case.operation].scale or served.engine.info.score_scale
    margins = [_above(position, mixed) for position in case.positions]
    missed = [
        position.pair.name for position, margin in zip(case.positions, margins, strict=True) if margin < MARGINS[scale].pair
    ]
    mean = float(np.mean(margins))
    is_good = len(missed) <= len(margins) // PAIRS_PER_MISS[served.expectations.understands] and mean >= MARGINS[scale].mean
    num_above = f"{len(margins) - len(missed)} of {len(margins)}"
    detail = f"{num_above} right documents are clearly above the wrong one, by {mean:.2g} {_unit(scale)} on average"
    if missed:
        detail += f"; missed: {', '.join(missed)}"
    if mean <= -MARGINS[scale].mean:
        detail += "; wrong documents rank first, as if yes and no were swapped"
    if is_good:
        return CheckResult(SelfTestCheck.MEANING, case.operation, CheckStatus.PASSED, detail)
    return CheckResult(
        SelfTestCheck.MEANING,
        case.operation,
        CheckStatus.FAILED if served.expectations.understands else CheckStatus.WARNED,
        detail,
    )


def _above(position: PairPosition, mixed: Values) -> float:
    if position.query is None:
        return float(mixed[position.right, 0] - mixed[position.wrong, 0])
    query, right, wrong = (_unit_vector(mixed[index]) for index in (position.query, position.right, position.wrong))
    return float(query @ (right - wrong))


def _unit_vector(vector: Values) -> Values:
    length = np.linalg.norm(vector)
    return vector / length if length else vector


def _too_few(served: ServedModel, case: SelfTestCase) -> CheckResult:
    detail = (
        f"only {len(case.positions)} of {len(PAIRS)} pairs fit into {served.card.max_model_len} tokens, too few for the check"
    )
    return CheckResult(SelfTestCheck.MEANING, case.operation, CheckStatus.WARNED, detail)


# -- checks of token ids ------------------------------------------------------------------------------------------------


def _suffix_kept(served: ServedModel, operation: Operation) -> CheckResult:
    """Tokenize a document of twice the model's token limit, and check limit, suffix and truncation flag."""
    limit = served.card.max_model_len
    try:
        [encoded] = _TESTS[operation].encode(served.encoder, "stone river " * limit)
    except CallerError:
        return CheckResult(
            SelfTestCheck.SUFFIX_KEPT, operation, CheckStatus.SKIPPED, f"not even a short question fits into {limit} tokens"
        )
    prompt = encoded.prompts[0]
    if not isinstance(prompt, TokenPrompt):
        return CheckResult(
            SelfTestCheck.SUFFIX_KEPT,
            operation,
            CheckStatus.SKIPPED,
            "the model's own library applies its template and truncates",
        )
    num_tokens = prompt.num_tokens
    suffix = served.expectations.suffix
    wrong = []
    if num_tokens > limit:
        wrong.append(f"it has {num_tokens} tokens where {limit} are allowed")
    if tuple(prompt.ids[-len(suffix) :].tolist() if suffix else ()) != suffix:
        wrong.append(f"it does not end in the template's {len(suffix)} suffix ids")
    if not encoded.is_truncated:
        wrong.append("it is not marked as truncated")
    detail = f"a document of {2 * limit} words became {num_tokens} tokens that end in the template's {len(suffix)} suffix ids"
    return _checked(
        SelfTestCheck.SUFFIX_KEPT, operation, not wrong, f"a document above the limit: {'; '.join(wrong)}" if wrong else detail
    )


# -- tests of operations ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _OperationTest:
    """How an operation is tested.

    Attributes:
        make_case: Encodes at most so many pairs.
        encode: Encodes one document.
        compare: Returns the difference of two computations, its tolerance and its unit.
        scale: The scale of the margins; None for the engine's.
        has_length: Whether values are vectors whose length may have to be one.
    """

    make_case: Callable[[Encoder, Sequence[SelfTestPair], int], SelfTestCase]
    encode: Callable[[Encoder, str], Sequence[Encoded]]
    compare: Callable[[Values, Values, EngineInfo, float], tuple[float, float, str]]
    scale: ScoreScale | None = None
    has_length: bool = False


_TESTS: Final[Mapping[Operation, _OperationTest]] = {
    RERANK: _OperationTest(
        make_case=rerank_case, encode=lambda encoder, text: encoder.encode_pairs("stone", (text,)), compare=_compare_scores
    ),
    EMBED: _OperationTest(
        make_case=embed_case,
        encode=lambda encoder, text: encoder.encode_texts((text,)),
        compare=_compare_vectors,
        scale=ScoreScale.COSINE,
        has_length=True,
    ),
    EMBED_SPARSE: _OperationTest(
        make_case=partial(embed_case, operation=EMBED_SPARSE),
        encode=lambda encoder, text: encoder.encode_texts((text,)),
        compare=_compare_vectors,
        scale=ScoreScale.COSINE,
    ),
}
