"""Samples of requests, and the figures of one server at one level. Pure.

Throughput counts answers that arrive within the window. Latency covers requests that are due within the window, whenever their
answer arrives. So slow answers count in the percentiles even after the window.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from random import Random
from statistics import median
from typing import Final

from shortlist.bench.dialects import Numbers
from shortlist.bench.plan import Level
from shortlist.bench.texts import LoadRequest

BUSY_SHARE: Final = 0.7
LATE_S: Final = 0.05
"""Beyond these, a figure may be the generator's own: a core nearly full, or an event loop that is this late."""

RECENT_S: Final = 5.0
"""The part of the past that progress shows."""

MAX_REASONS: Final = 20


class Fate(StrEnum):
    """What became of one request."""

    OK = "ok"  # answered with a finite number for every document
    REFUSED = "refused"  # 429: refused by admission control
    TIMED_OUT = "timed out"  # 504: the server gave up on it
    REJECTED = "rejected"  # any other status below 500: the server found fault with the request
    FAILED = "failed"  # any other status of 500 or more
    CUT = "cut"  # the connection was refused, or ended before the answer did
    LOST = "lost"  # no answer within the timeout
    WRONG = "wrong"  # a 200 that does not hold one finite number per document
    UNSENT = "unsent"  # this machine had no socket left to send it; nothing is known of the server


ERRORS: Final = frozenset(Fate) - {Fate.OK, Fate.REFUSED}
"""What must not happen. A refusal may: it is how a full server stays alive."""

_BY_STATUS: Final = {200: Fate.OK, 429: Fate.REFUSED, 504: Fate.TIMED_OUT}


def fate_of(status: int) -> Fate:
    """Return what a status alone says of a request."""
    return _BY_STATUS.get(status, Fate.REJECTED if status < 500 else Fate.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one request, with its answer."""

    fate: Fate
    at_s: float  # when that was known, by `time.perf_counter`
    status: int | None = None  # of the answer; None if there was none
    retry_after: str | None = None  # the header of that name
    numbers: Numbers | None = None  # of the documents, if all is well
    why: str = ""  # what is wrong otherwise, in the server's words where it has any


@dataclass(frozen=True, slots=True)
class RequestSample:
    """One request."""

    due_s: float  # seconds since the visit began at which it was to be sent
    latency_s: float  # from then to the end of the answer, so that a request sent late is not a fast one
    fate: Fate
    status: int | None = None
    has_retry_after: bool = False

    @property
    def done_s(self) -> float:
        """When it was over."""
        return self.due_s + self.latency_s


@dataclass(frozen=True, slots=True)
class MeasuredWindow:
    """The part of a visit that is measured. Units: seconds since the visit began."""

    begin_s: float
    end_s: float

    def __contains__(self, at_s: float) -> bool:
        return self.begin_s <= at_s < self.end_s

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end_s - self.begin_s


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCheck:
    """Comparison with answers to the same documents, each sent alone."""

    num_checked: int = 0  # documents that were asked again and answered
    num_wrong: int = 0  # those whose numbers were further apart than allowed
    num_unanswered: int = 0  # documents that were asked again in vain
    largest: float = 0.0  # the largest difference; 0 if none was checked

    def __add__(self, other: AnswerCheck) -> AnswerCheck:
        return AnswerCheck(
            num_checked=self.num_checked + other.num_checked,
            num_wrong=self.num_wrong + other.num_wrong,
            num_unanswered=self.num_unanswered + other.num_unanswered,
            largest=max(self.largest, other.largest),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """How busy the load generator was: whether the figures are the server's or its own."""

    cpu_share: float  # seconds of processor per second, of this process
    lag_p99_s: float  # the event loop's lag that 99 % of its turns did not exceed

    @property
    def is_limit(self) -> bool:
        """Whether it may have been slower than the server."""
        return self.cpu_share > BUSY_SHARE or self.lag_p99_s > LATE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRun:
    """One server at one level, once."""

    target: str  # the server's name
    level: Level
    turn: int  # the round, from 0
    num_documents: int  # in a request
    window: MeasuredWindow
    samples: Sequence[RequestSample]  # every request of the visit, warming up included
    generator: Generator
    reasons: Mapping[str, int] = field(default_factory=dict)  # what was said of requests not answered well, and how often
    check: AnswerCheck = AnswerCheck()

    @property
    def qps(self) -> float:
        """Requests answered well, a second."""
        return self.good_per_s(math.inf)

    @property
    def documents_per_s(self) -> float:
        """Documents scored, a second."""
        return self.qps * self.num_documents

    def good_per_s(self, within_s: float) -> float:
        """Return how many requests a second were answered well and within so many seconds."""
        came = (sample for sample in self.samples if sample.done_s in self.window)
        return sum(each.fate is Fate.OK and each.latency_s <= within_s for each in came) / self.window.seconds

    def latencies(self, fate: Fate) -> list[float]:
        """Return how long requests took that had this fate, shortest first."""
        due = (sample for sample in self.samples if sample.due_s in self.window)
        return sorted(sample.latency_s for sample in due if sample.fate is fate)

    def fates(self) -> Counter[Fate]:
        """Return what became of all requests, warming up included: an error is an error."""
        return Counter(sample.fate for sample in self.samples)

    @property
    def num_errors(self) -> int:
        """How many requests had a fate that must not be, or a wrong number."""
        fates = self.fates()
        return sum(fates[fate] for fate in ERRORS) + self.check.num_wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """How a visit goes: the last few seconds, and the errors so far."""

    elapsed_s: float
    is_warming_up: bool
    qps: float
    p50_s: float | None
    num_refused: int
    num_errors: int


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer to be compared with another one to the same documents."""

    request: LoadRequest
    numbers: Numbers


@dataclass(slots=True)
class SampleLog:
    """What is noted during one visit."""

    draw: Random  # chooses the answers that are kept
    num_kept: int = 0  # how many of them, at most
    samples: list[RequestSample] = field(default_factory=list)  # all requests, in the order in which they were over
    reasons: Counter[str] = field(default_factory=Counter)
    kept: list[KeptAnswer] = field(default_factory=list)  # a sample of the good answers, each with the same chance to be in it
    _counts: Counter[Fate] = field(default_factory=Counter)

    def note(self, request: LoadRequest, outcome: Outcome, *, due_s: float, start_s: float) -> None:
        """Note the outcome of a request that was due at this time, in a visit that began at that."""
        told = outcome.retry_after is not None
        self.samples.append(RequestSample(due_s - start_s, outcome.at_s - due_s, outcome.fate, outcome.status, told))
        self._counts[outcome.fate] += 1
        if outcome.why and (outcome.why in self.reasons or len(self.reasons) < MAX_REASONS):
            self.reasons[outcome.why] += 1
        if outcome.numbers is not None:
            self._offer(KeptAnswer(request, outcome.numbers))

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

    def _offer(self, answer: KeptAnswer) -> None:
        """Source: algorithm R; J. Vitter, "Random sampling with a reservoir", 1985."""
        if len(self.kept) < self.num_kept:
            self.kept.append(answer)
        elif self.num_kept and (place := self.draw.randrange(self._counts[Fate.OK])) < self.num_kept:
            self.kept[place] = answer
