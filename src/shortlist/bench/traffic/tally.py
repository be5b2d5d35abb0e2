"""What became of requests, and the figures that follow: frozen values, counted by rules that are written down here. Pure.

Speed counts answers by when they came: those within the window, whenever they were asked for. Latency belongs to requests by
when they were due: those due within the window, whenever their answer came. So a slow answer is in the percentiles even if the
window was over by then, and the speed is never that of a server that is already being left alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shortlist.bench.traffic.schedule import Level

BUSY_SHARE: Final = 0.7
LATE_S: Final = 0.05
"""Beyond these, a figure may be the generator's own: a core nearly full, or turns that come this late."""


class Fate(StrEnum):
    """What became of one request."""

    OK = "ok"
    """Answered with a finite number for every document."""
    REFUSED = "refused"
    """429: the server had no room, and said so."""
    TIMED_OUT = "timed out"
    """504: the server gave up on it."""
    REJECTED = "rejected"
    """Any other status below 500: the server found fault with the request."""
    FAILED = "failed"
    """Any other status of 500 or more."""
    CUT = "cut"
    """The connection was refused, or ended before the answer did."""
    LOST = "lost"
    """No answer in all the time that was given to it."""
    WRONG = "wrong"
    """A 200 that does not hold one finite number per document."""
    UNSENT = "unsent"
    """This machine had no socket left to send it; nothing is known of the server."""


ERRORS: Final = frozenset(Fate) - {Fate.OK, Fate.REFUSED}
"""What must not happen. A refusal may: it is how a full server stays alive."""

_BY_STATUS: Final = {200: Fate.OK, 429: Fate.REFUSED, 504: Fate.TIMED_OUT}


def fate_of(status: int) -> Fate:
    """Return what a status alone says of a request."""
    return _BY_STATUS.get(status, Fate.REJECTED if status < 500 else Fate.FAILED)


@dataclass(frozen=True, slots=True)
class Sample:
    """One request.

    Units:
        due_s: Seconds since the visit began at which it was to be sent. latency_s: from then to the end of the answer, so that
        a request sent late is not a fast one.
    """

    due_s: float
    latency_s: float
    fate: Fate
    status: int | None = None
    has_retry_after: bool = False

    @property
    def done_s(self) -> float:
        """When it was over."""
        return self.due_s + self.latency_s


@dataclass(frozen=True, slots=True)
class Window:
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
class Check:
    """Answers compared with those to the same documents asked alone.

    Attributes:
        num_checked: Documents that were asked again and answered.
        num_wrong: Those whose numbers were further apart than allowed.
        num_unanswered: Documents that were asked again in vain.
        largest: The largest difference; 0 if none was checked.
    """

    num_checked: int = 0
    num_wrong: int = 0
    num_unanswered: int = 0
    largest: float = 0.0

    def __add__(self, other: Check) -> Check:
        return Check(
            num_checked=self.num_checked + other.num_checked,
            num_wrong=self.num_wrong + other.num_wrong,
            num_unanswered=self.num_unanswered + other.num_unanswered,
            largest=max(self.largest, other.largest),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """How hard it was to ask: whether the figures are the server's or our own.

    Attributes:
        cpu_share: Seconds of processor per second, of this process.
        lag_p99_s: How late 99 % of its turns came at most.
    """

    cpu_share: float
    lag_p99_s: float

    @property
    def is_limit(self) -> bool:
        """Whether it may have been slower than the server."""
        return self.cpu_share > BUSY_SHARE or self.lag_p99_s > LATE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One server at one level, once.

    Attributes:
        target: The server's name.
        level: What was asked of it.
        turn: Which round this belongs to, from 0.
        num_documents: Documents in a request.
        window: What is measured.
        samples: Every request of the visit, warming up included.
        reasons: What servers said of requests that were not answered well, and how often.
        generator: How hard it was to ask.
        check: What came of asking again.
    """

    target: str
    level: Level
    turn: int
    num_documents: int
    window: Window
    samples: Sequence[Sample]
    generator: Generator
    reasons: Mapping[str, int] = field(default_factory=dict)
    check: Check = Check()

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
