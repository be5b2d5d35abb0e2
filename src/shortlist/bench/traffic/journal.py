"""What is noted while requests come and go: every sample, what servers said, and a few answers to be checked. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from random import Random
from statistics import median
from typing import Final

from shortlist.bench.texts import Request
from shortlist.bench.traffic.asker import Outcome
from shortlist.bench.traffic.dialect import Numbers
from shortlist.bench.traffic.tally import ERRORS, Fate, Sample

RECENT_S: Final = 5.0
"""Over how much of the past progress is told."""

MAX_REASONS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """How it goes: the last few seconds, and the errors so far."""

    elapsed_s: float
    is_warming_up: bool
    qps: float
    p50_s: float | None
    num_refused: int
    num_errors: int


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer to be compared with another one to the same documents."""

    request: Request
    numbers: Numbers


@dataclass(slots=True)
class Journal:
    """Of one visit.

    Attributes:
        draw: Which answers are kept.
        num_kept: How many of them, at most.
        samples: All requests, in the order in which they were over.
        reasons: What was said of those that were not answered well, and how often.
        kept: A sample of the good answers, each with the same chance to be in it.
    """

    draw: Random
    num_kept: int = 0
    samples: list[Sample] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    kept: list[Kept] = field(default_factory=list)
    _counts: Counter[Fate] = field(default_factory=Counter)

    def note(self, request: Request, outcome: Outcome, *, due_s: float, start_s: float) -> None:
        """Note what became of a request that was due at this time, in a visit that began at that."""
        sample = Sample(
            due_s=due_s - start_s,
            latency_s=outcome.at_s - due_s,
            fate=outcome.fate,
            status=outcome.status,
            has_retry_after=outcome.retry_after is not None,
        )
        self.samples.append(sample)
        self._counts[sample.fate] += 1
        if outcome.why and (outcome.why in self.reasons or len(self.reasons) < MAX_REASONS):
            self.reasons[outcome.why] += 1
        if outcome.numbers is not None:
            self._offer(Kept(request, outcome.numbers))

    def pulse(self, now_s: float, *, is_warming_up: bool) -> Pulse:
        """Return how it goes, so many seconds after the visit began."""
        recent_s = min(RECENT_S, now_s)
        good = list(self._good_since(now_s - recent_s))
        return Pulse(
            elapsed_s=now_s,
            is_warming_up=is_warming_up,
            qps=len(good) / recent_s if recent_s else 0.0,
            p50_s=median(good) if good else None,
            num_refused=self._counts[Fate.REFUSED],
            num_errors=sum(self._counts[fate] for fate in ERRORS),
        )

    def _good_since(self, since_s: float) -> Iterator[float]:
        recent = takewhile(lambda sample: sample.done_s >= since_s, reversed(self.samples))
        return (sample.latency_s for sample in recent if sample.fate is Fate.OK)

    def _offer(self, answer: Kept) -> None:
        """Source: algorithm R; J. Vitter, "Random sampling with a reservoir", 1985."""
        if len(self.kept) < self.num_kept:
            self.kept.append(answer)
        elif self.num_kept and (place := self.draw.randrange(self._counts[Fate.OK])) < self.num_kept:
            self.kept[place] = answer
