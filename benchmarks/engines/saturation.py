"""Many requests at once: how many documents a second, and how late the latest answers are when less is asked for.

A contender says how many requests it likes to have under way. Given as many, it shows how much it can do; then requests arrive
as callers' do, independently of one another, at a share of that. Pure, but for the contender that it asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from shortlist.bench.stats import arrivals, percentile
from shortlist.bench.texts import LoadRequest

SHARE: Final = 0.7
"""Of what a contender can do, in requests that arrive."""

TURNS: Final = 3
"""How often everyone shows what they can do; the median counts."""

SPENT_S: Final = 3.0
"""What one turn takes, and the wait for the latest answers, about."""

MOST: Final = 300
FEWEST: Final = 20
"""Requests that arrive; of fewer than a hundred, the latest of all is the 99th percentile."""


Due = Callable[[int, int, float], float]
"""When the next request is due, given how many were asked, how many were answered, and the time. Units: seconds from the first.

It may be now, or earlier; later; or never, as long as nothing more is answered.
"""


def closed(at_once: int) -> Due:
    """Return when to ask so that so many are always under way."""
    return lambda num_asked, num_answered, now_s: now_s if num_asked - num_answered < at_once else math.inf


def opened(due_s: Sequence[float]) -> Due:
    """Return when to ask if each has its own time, whatever has become of the others."""
    return lambda num_asked, _num_answered, _now_s: due_s[num_asked]


class Answerer(Protocol):
    """A callable that answers requests."""

    def stream(self, requests: Sequence[LoadRequest], due: Due, timeout_s: float) -> list[tuple[float, float]]:
        """Return of every request when it was due and when it was answered."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """What one contender did with many requests of one load.

    Attributes:
        at_once: How many were under way.
        documents_per_s: Of every turn.
        answer_s: From when each of those that arrived was due to its answer.
    """

    at_once: int
    documents_per_s: Sequence[float]
    answer_s: Sequence[float] = ()

    @property
    def p99_s(self) -> float | None:
        """The time within which 99 of 100 were answered."""
        return percentile(sorted(self.answer_s), 0.99)


def turn_requests(alone_s: float, at_once: int) -> int:
    """Return how many requests one turn asks of a contender that takes so long for one: twice as many as it likes, at least."""
    return min(max(math.ceil(SPENT_S / alone_s), 2 * at_once), MOST)


def late_requests(requests_per_s: float) -> int:
    """Return how many arrive at a contender that can do so many."""
    return min(max(math.ceil(SPENT_S * SHARE * requests_per_s), FEWEST), MOST)


def documents_per_s(answerer: Answerer, requests: Sequence[LoadRequest], at_once: int, timeout_s: float) -> float:
    """Return how many documents a second are answered with so many requests under way. Raises what asking raises."""
    turns = answerer.stream(requests, closed(at_once), timeout_s)
    return sum(len(request.documents) for request in requests) / turns[-1][1]


def answer_s(answerer: Answerer, requests: Sequence[LoadRequest], per_s: float, seed: str, timeout_s: float) -> list[float]:
    """Return how long each took to be answered, when so many requests a second arrive. Raises what asking raises."""
    due_s = list(islice(arrivals(per_s, seed), len(requests)))
    return [answered_s - due_s for due_s, answered_s in answerer.stream(requests, opened(due_s), timeout_s)]
