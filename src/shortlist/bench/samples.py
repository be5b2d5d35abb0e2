"""Request outcomes, the sample log, and the figures of one level run. Pure.

Speed counts the answers that arrive within the window, whenever they were due. Latency covers the requests that are due within
the window, whenever they are answered. So a slow answer counts in the percentiles even after the window, and speed is never
measured on a server without load.
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
"""Above these, the load generator may limit a figure: CPU share of one core, and event loop lag."""

RECENT_S: Final = 5.0
"""Time span that progress covers."""

MAX_REASONS: Final = 20


class Fate(StrEnum):
    """The result class of one request."""

    OK = "ok"  # answered with a finite number for every document
    REFUSED = "refused"  # 429: the server was full
    TIMED_OUT = "timed out"  # 504: the server gave up on it
    REJECTED = "rejected"  # any other status below 500: the server rejected the request
    FAILED = "failed"  # any other status of 500 or more
    CUT = "cut"  # the connection was refused, or ended before the answer did
    LOST = "lost"  # no answer within the timeout
    WRONG = "wrong"  # a 200 that does not hold one finite number per document
    UNSENT = "unsent"  # this machine had no free socket; the server did not get it


ERRORS: Final = frozenset(Fate) - {Fate.OK, Fate.REFUSED}
"""Results that are errors. A refusal is none: it protects a full server."""

_BY_STATUS: Final = {200: Fate.OK, 429: Fate.REFUSED, 504: Fate.TIMED_OUT}


def fate_of(status: int) -> Fate:
    """Return the fate for an HTTP status."""
    return _BY_STATUS.get(status, Fate.REJECTED if status < 500 else Fate.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one request, with its answer."""

    fate: Fate
    at_s: float  # end time, by `time.perf_counter`
    status: int | None = None  # of the answer; None if there was none
    retry_after: str | None = None  # the header of that name
    numbers: Numbers | None = None  # of the documents; None unless the fate is OK
    why: str = ""  # the error, in the server's words where given


@dataclass(frozen=True, slots=True)
class RequestSample:
    """One request."""

    due_s: float  # due time, in seconds since the level run began
    latency_s: float  # from the due time to the end of the answer
    fate: Fate
    status: int | None = None
    has_retry_after: bool = False

    @property
    def done_s(self) -> float:
        """End time in seconds since the level run began."""
        return self.due_s + self.latency_s


@dataclass(frozen=True, slots=True)
class MeasuredWindow:
    """The measured part of a level run. Units: seconds since the level run began."""

    begin_s: float
    end_s: float

    def __contains__(self, at_s: float) -> bool:
        return self.begin_s <= at_s < self.end_s

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.end_s - self.begin_s


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCheck:
    """Comparison of answers with those to the same documents sent one by one."""

    num_checked: int = 0  # documents re-sent and answered
    num_wrong: int = 0  # of these, documents beyond the tolerance
    num_unanswered: int = 0  # documents re-sent without an answer
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
    """Utilization of the load generator, which shows whether it limited the figures."""

    cpu_share: float  # seconds of processor per second, of this process
    lag_p99_s: float  # 99th percentile of event loop lag

    @property
    def is_limit(self) -> bool:
        """Whether the load generator may have been slower than the server."""
        return self.cpu_share > BUSY_SHARE or self.lag_p99_s > LATE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRun:
    """One server at one level in one round."""

    target: str  # the server's name
    level: Level
    turn: int  # the round, from 0
    num_documents: int  # in a request
    window: MeasuredWindow
    samples: Sequence[RequestSample]  # every request, warm-up included
    generator: Generator
    reasons: Mapping[str, int] = field(default_factory=dict)  # error messages and their counts
    check: AnswerCheck = AnswerCheck()

    @property
    def qps(self) -> float:
        """Good answers per second."""
        return self.good_per_s(math.inf)

    @property
    def documents_per_s(self) -> float:
        """Documents scored per second."""
        return self.qps * self.num_documents

    def good_per_s(self, within_s: float) -> float:
        """Return the good answers per second within this latency."""
        came = (sample for sample in self.samples if sample.done_s in self.window)
        return sum(each.fate is Fate.OK and each.latency_s <= within_s for each in came) / self.window.seconds

    def latencies(self, fate: Fate) -> list[float]:
        """Return the latencies of requests with this fate, ascending."""
        due = (sample for sample in self.samples if sample.due_s in self.window)
        return sorted(sample.latency_s for sample in due if sample.fate is fate)

    def fates(self) -> Counter[Fate]:
        """Return the count of every fate, warm-up included."""
        return Counter(sample.fate for sample in self.samples)

    @property
    def num_errors(self) -> int:
        """Number of requests with an error fate or a wrong number."""
        fates = self.fates()
        return sum(fates[fate] for fate in ERRORS) + self.check.num_wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """Progress of a level run: speed of the last few seconds, and errors so far."""

    elapsed_s: float
    is_warming_up: bool
    qps: float
    p50_s: float | None
    num_refused: int
    num_errors: int


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer kept for the answer check."""

    request: LoadRequest
    numbers: Numbers


@dataclass(slots=True)
class SampleLog:
    """The samples of one level run."""

    draw: Random  # samples the kept answers
    num_kept: int = 0  # maximum number of kept answers
    samples: list[RequestSample] = field(default_factory=list)  # all requests, by end time
    reasons: Counter[str] = field(default_factory=Counter)
    kept: list[KeptAnswer] = field(default_factory=list)  # a uniform random sample of the good answers
    _counts: Counter[Fate] = field(default_factory=Counter)

    def note(self, request: LoadRequest, outcome: Outcome, *, due_s: float, start_s: float) -> None:
        """Record the outcome of a request with its due time and the start time of the level run."""
        told = outcome.retry_after is not None
        self.samples.append(RequestSample(due_s - start_s, outcome.at_s - due_s, outcome.fate, outcome.status, told))
        self._counts[outcome.fate] += 1
        if outcome.why and (outcome.why in self.reasons or len(self.reasons) < MAX_REASONS):
            self.reasons[outcome.why] += 1
        if outcome.numbers is not None:
            self._offer(KeptAnswer(request, outcome.numbers))

    def pulse(self, now_s: float, *, is_warming_up: bool) -> Pulse:
        """Return the progress at this time in seconds since the level run began."""
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
