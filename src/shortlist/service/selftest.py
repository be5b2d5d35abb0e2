"""The self-test: a model shows on its own device, in its own dtype, that its numbers can be trusted before it takes requests.

This module knows which promises are tested and how much rounding each may cost. It drives one engine and one encoder
directly, and knows nothing of HTTP, the queue or what becomes of a model that fails.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np

from shortlist.engine.base import EngineInfo, ScoreScale, parts_of
from shortlist.errors import CallerError, EngineError
from shortlist.service.samples import BY_WORTH, PAIRS
from shortlist.service.stack import Stack
from shortlist.service.trial import Measured, Place, Trial, Values, embed_trial, measure, rerank_trial
from shortlist.text.base import Encoder
from shortlist.types import Encoded, Task, TokenPrompt


class Check(StrEnum):
    """What is tested."""

    FINITE = "finite"
    UNIT_LENGTH = "unit length"
    REPEATABLE = "repeatable"
    ORDER_KEPT = "order kept"
    ALONE = "alone = in batch"
    SUFFIX_KEPT = "suffix kept"
    MEANING = "meaning"


class Verdict(StrEnum):
    """What came of a check. Only a failure keeps a model from being served."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one task, and what was found, in one sentence."""

    check: Check
    task: Task
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """Everything that was found about one model, and what to do if it means nothing. Units: seconds."""

    model: str
    findings: tuple[Finding, ...]
    duration_s: float
    remedy: str = ""

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What keeps the model from being served."""
        return self.those(Verdict.FAILED)

    @property
    def has_passed(self) -> bool:
        """Whether the model can be trusted."""
        return not self.failed

    @property
    def complaint(self) -> str:
        """What failed first, and what that usually means; for a test that failed."""
        first = self.failed[0]
        usually = f"Usually that is {CAUSES[first.check]}."
        said = f"{self.model} failed its self-test ({first.check.value}): {first.detail}. {usually}"
        return f"{said} {self.remedy}" if self.remedy and first.check is Check.MEANING else said

    @property
    def summary(self) -> str:
        """How it went, in one line."""
        spent = f"{self.model}: self-test {{}} in {self.duration_s:.1f} s"
        if self.failed:
            return spent.format("failed") + f" ({', '.join(finding.check.value for finding in self.failed)})"
        untested = {finding.check.value for finding in self.those(Verdict.SKIPPED) if finding.check is Check.MEANING}
        return spent.format("passed") + (" (but for meaning: random_weights is set)" if untested else "")

    def those(self, verdict: Verdict) -> tuple[Finding, ...]:
        """Return the findings with this verdict."""
        return tuple(finding for finding in self.findings if finding.verdict is verdict)


CAUSES: Final[Mapping[Check, str]] = MappingProxyType(
    {
        Check.FINITE: "the weights are damaged, or the dtype is too narrow for them (try --dtype float32)",
        Check.UNIT_LENGTH: "the model's last step, which makes vectors of length one, is missing or broken",
        Check.REPEATABLE: "the device or a library computes in no fixed order",
        Check.ORDER_KEPT: "the engine gives scores back in another order than it was asked",
        Check.ALONE: "padding or a neighbour leaks into a prompt, or the dtype is too narrow for the weights",
        Check.SUFFIX_KEPT: "the tokenizer is not the model's own, or long prompts are cut at their end",
        Check.MEANING: "the wrong prompt, the wrong head, the wrong model, or weights that were never trained",
    }
)
"""What a failed check usually means."""


# -- how much rounding is allowed ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far two computations of one prompt may lie apart.

    Rounding in log-odds grows with the log-odds themselves, so there the bound is a share of the distance between the highest
    and the lowest score of the trial, and never under `log_odds`.

    Units:
        log_odds, cosine: as the scores; vector: 1 - cosine of the two vectors.
    """

    log_odds: float
    share: float
    cosine: float
    vector: float


BOUNDS: Final[Mapping[str, Bounds]] = MappingProxyType(
    {
        "float32": Bounds(log_odds=1e-4, share=1e-5, cosine=1e-5, vector=1e-6),
        "float16": Bounds(log_odds=0.01, share=0.02, cosine=0.002, vector=1e-4),
        "bfloat16": Bounds(log_odds=0.05, share=0.1, cosine=0.01, vector=1e-3),
        "float8_e4m3fn": Bounds(log_odds=0.25, share=0.1, cosine=0.02, vector=1e-2),
    }
)
WIDEST: Final = BOUNDS["bfloat16"]
"""For a dtype that an engine calls by another name."""

UNIT_BOUND: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Margins:
    """How clearly right must be above wrong: in one pair for it to count, and on average."""

    pair: float
    mean: float


MARGINS: Final[Mapping[ScoreScale, Margins]] = MappingProxyType(
    {ScoreScale.LOG_ODDS: Margins(pair=1.0, mean=2.0), ScoreScale.COSINE: Margins(pair=0.02, mean=0.08)}
)

PAIRS_PER_MISS: Final = MappingProxyType({True: 6, False: 3})
"""How many pairs there must be for one to miss its margin, by whether the model promises to understand.

A good model may be weak at something; one that is served wrongly is weak at everything. Three in ten pairs are Chinese, which a
model that promises nothing need not know.
"""

MIN_PAIRS: Final = 6
"""With fewer pairs, chance could pass for understanding."""


# -- the test -----------------------------------------------------------------------------------------------------------


async def examine(stack: Stack, *, has_random_weights: bool, max_batch_tokens: int, max_pairs: int = len(PAIRS)) -> SelfTest:
    """Test one model that serves nobody yet.

    Args:
        stack: The model.
        has_random_weights: Whether it is known that its weights mean nothing; then nothing is said about meaning.
        max_batch_tokens: The largest batch it will be asked for.
        max_pairs: How many pairs to ask at most.
    """
    started_s = time.monotonic()
    findings: list[Finding] = []
    for task in sorted(stack.card.tasks):
        trial = await asyncio.to_thread(_TRIALS[task], stack.encoder, BY_WORTH, max_pairs)
        findings += await _on_all(stack, trial, has_random_weights=has_random_weights, max_batch_tokens=max_batch_tokens)
        findings.append(await asyncio.to_thread(_suffix_kept, stack, task))
    spent_s = time.monotonic() - started_s
    return SelfTest(model=stack.name, findings=tuple(findings), duration_s=spent_s, remedy=stack.promise.remedy)


_TRIALS: Final = MappingProxyType({Task.RERANK: rerank_trial, Task.EMBED: embed_trial})


async def _on_all(stack: Stack, trial: Trial, *, has_random_weights: bool, max_batch_tokens: int) -> list[Finding]:
    """Return what the numbers of every device say, those of the first that fails, or else of the first."""
    parts = parts_of(stack.engine)
    asked = (
        _findings(replace(stack, engine=part), trial, has_random_weights=has_random_weights, max_batch_tokens=max_batch_tokens)
        for part in parts
    )
    found = await asyncio.gather(*asked)
    for part, findings in zip(parts, found, strict=True):
        if len(parts) > 1 and any(finding.verdict is Verdict.FAILED for finding in findings):
            return [replace(finding, detail=f"on {part.info.device}, {finding.detail}") for finding in findings]
    return found[0]


async def _findings(stack: Stack, trial: Trial, *, has_random_weights: bool, max_batch_tokens: int) -> list[Finding]:
    """Return what the engine's numbers say."""
    if not trial.places:
        return [_too_few(stack, trial)]
    try:
        measured = await measure(stack.engine, trial, max_batch_tokens=max_batch_tokens)
    except EngineError as error:
        return [Finding(Check.FINITE, trial.task, Verdict.FAILED, f"the test texts could not be computed: {error.message}")]
    finite = _finite(measured, trial.task)
    if finite.verdict is Verdict.FAILED:
        return [finite]
    info, spread = stack.engine.info, float(np.ptp(measured.mixed))
    found = [finite] if trial.task is Task.RERANK else [finite, _unit_length(measured, trial.task)]
    return [
        *found,
        _repeatable(measured, trial.task),
        _order_kept(measured, trial.task),
        _close(Check.ALONE, measured.mixed[list(trial.picked)], measured.alone, trial.task, info, spread),
        _random_weights(trial.task) if has_random_weights else _meaning(stack, trial, measured.mixed),
    ]


# -- what the numbers must be -------------------------------------------------------------------------------------------


def _judged(check: Check, task: Task, is_good: bool, detail: str) -> Finding:
    return Finding(check, task, Verdict.PASSED if is_good else Verdict.FAILED, detail)


def _finite(measured: Measured, task: Task) -> Finding:
    num_values = len(measured.all)
    num_finite = int(np.count_nonzero(np.isfinite(measured.all).all(axis=1)))
    detail = f"{num_finite} of {num_values} values are finite numbers"
    return _judged(Check.FINITE, task, num_finite == num_values, detail)


def _unit_length(measured: Measured, task: Task) -> Finding:
    off = float(np.abs(np.linalg.norm(measured.all, axis=1) - 1).max())
    return _judged(Check.UNIT_LENGTH, task, off <= UNIT_BOUND, f"lengths differ from 1 by at most {off:.1e}")


def _repeatable(measured: Measured, task: Task) -> Finding:
    is_same = bool((measured.alone[: len(measured.again)] == measured.again).all())
    detail = f"a batch that is asked again gives {'the same to the bit' if is_same else 'something else'}"
    return _judged(Check.REPEATABLE, task, is_same, detail)


def _order_kept(measured: Measured, task: Task) -> Finding:
    """Tell whether two prompts, in either order, each get the value that is nearer to its own, alone, than to the other's."""
    is_kept = all(_gap(measured.alone, each) <= _gap(measured.alone, each[::-1]) for each in (measured.once, measured.turned))
    detail = f"two prompts in either order get {'each its own value' if is_kept else 'the value of the other'}"
    return _judged(Check.ORDER_KEPT, task, is_kept, detail)


def _gap(one: Values, other: Values) -> float:
    return float(np.abs(one - other).max())


def _close(check: Check, one: Values, other: Values, task: Task, info: EngineInfo, spread: float) -> Finding:
    """Compare two computations of the same prompts."""
    bounds = BOUNDS.get(info.dtype, WIDEST)
    if task is Task.EMBED:
        gap, bound, unit = _angle(one, other), bounds.vector, "1 - cosine"
    else:
        is_cosine = info.score_scale is ScoreScale.COSINE
        gap, unit = float(np.abs(one - other).max()), _unit(info.score_scale)
        bound = bounds.cosine if is_cosine else max(bounds.log_odds, bounds.share * spread)
    detail = f"the largest difference is {gap:.1e} {unit}; {info.dtype} may have {bound:.1e}"
    return _judged(check, task, gap <= bound, detail)


def _unit(scale: ScoreScale) -> str:
    return scale.value.replace("_", "-")


def _angle(one: Values, other: Values) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    if not lengths.all():
        return 1.0
    return float((1 - (one * other).sum(axis=1) / lengths).max())


def _random_weights(task: Task) -> Finding:
    return Finding(Check.MEANING, task, Verdict.SKIPPED, "random_weights is set, so nothing can be said about meaning")


def _meaning(stack: Stack, trial: Trial, mixed: Values) -> Finding:
    """Tell whether right documents are above wrong ones. A model made for other texts than ours is only warned about."""
    if len(trial.places) < MIN_PAIRS:
        return _too_few(stack, trial)
    scale = ScoreScale.COSINE if trial.task is Task.EMBED else stack.engine.info.score_scale
    margins = [_above(place, mixed) for place in trial.places]
    missed = [place.pair.name for place, margin in zip(trial.places, margins, strict=True) if margin < MARGINS[scale].pair]
    mean = float(np.mean(margins))
    is_good = len(missed) <= len(margins) // PAIRS_PER_MISS[stack.promise.understands] and mean >= MARGINS[scale].mean
    num_above = f"{len(margins) - len(missed)} of {len(margins)}"
    detail = f"{num_above} right documents are clearly above the wrong one, by {mean:.2g} {_unit(scale)} on average"
    if missed:
        detail += f"; missed: {', '.join(missed)}"
    if mean <= -MARGINS[scale].mean:
        detail += "; it is the wrong ones that it puts first, as if yes and no had been taken for each other"
    if is_good:
        return Finding(Check.MEANING, trial.task, Verdict.PASSED, detail)
    return Finding(Check.MEANING, trial.task, Verdict.FAILED if stack.promise.understands else Verdict.WARNED, detail)


def _above(place: Place, mixed: Values) -> float:
    if place.query is None:
        return float(mixed[place.right, 0] - mixed[place.wrong, 0])
    return float(mixed[place.query] @ (mixed[place.right] - mixed[place.wrong]))


def _too_few(stack: Stack, trial: Trial) -> Finding:
    detail = f"only {len(trial.places)} of {len(PAIRS)} pairs fit into {stack.card.max_model_len} tokens, too few to judge by"
    return Finding(Check.MEANING, trial.task, Verdict.WARNED, detail)


# -- what the ids must be -----------------------------------------------------------------------------------------------


def _suffix_kept(stack: Stack, task: Task) -> Finding:
    """Spell a document of twice the model's limit."""
    limit = stack.card.max_model_len
    try:
        encoded = _overlong(stack.encoder, task, limit)
    except CallerError:
        return Finding(Check.SUFFIX_KEPT, task, Verdict.SKIPPED, f"not even a short question fits into {limit} tokens")
    prompt = encoded.prompts[0]
    if not isinstance(prompt, TokenPrompt):
        return Finding(Check.SUFFIX_KEPT, task, Verdict.SKIPPED, "the model's own library frames and cuts its texts")
    num_tokens = prompt.prefix.num_tokens + prompt.num_tokens
    suffix = stack.promise.suffix
    wrong = []
    if num_tokens > limit:
        wrong.append(f"it has {num_tokens} tokens where {limit} are allowed")
    if tuple(prompt.ids[-len(suffix) :].tolist() if suffix else ()) != suffix:
        wrong.append(f"it does not end in the frame's {len(suffix)} suffix ids")
    if not encoded.is_truncated:
        wrong.append("it does not say that it was cut")
    detail = f"a document of {2 * limit} words became {num_tokens} tokens that end in the frame's {len(suffix)} suffix ids"
    return _judged(
        Check.SUFFIX_KEPT, task, not wrong, f"of a document that had to be cut: {'; '.join(wrong)}" if wrong else detail
    )


def _overlong(encoder: Encoder, task: Task, limit: int) -> Encoded:
    text = "stone river " * limit
    [encoded] = encoder.encode_pairs("stone", (text,)) if task is Task.RERANK else encoder.encode_texts((text,))
    return encoded
