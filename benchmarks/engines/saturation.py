"""Measures a contender with concurrent requests: its documents per second, then the latency of its answers at a lower rate.

The throughput is measured in a closed loop, with the concurrency in the contender's ready line. The latency is measured in an
open loop: requests arrive independently of each other, at a share of the throughput. Pure, apart from the calls of the
contender.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from shortlist.bench.stats import arrivals, percentile
from shortlist.bench.texts import LoadRequest

LOAD_SHARE: Final = 0.7
"""Rate of the arrivals, as a share of the contender's throughput."""

TURNS: Final = 3
"""Throughput measurements of each contender; the median counts."""

TURN_S: Final = 3.0
"""Approximate duration of one throughput turn, and of the latency measurement."""

MAX_REQUESTS: Final = 300
MIN_ARRIVALS: Final = 20
"""Limits of the number of requests. With fewer than a hundred arrivals, the slowest answer is the 99th percentile."""


Due = Callable[[int, int, float], float]
"""Returns the due time of the next request from the numbers of sent and answered requests, and the time.

The result may be in the past, now or in the future; it is infinite if the next request must wait for an answer.

Units:
    Seconds since the first request.
"""


def closed_loop(at_once: int) -> Due:
    """Return due times that keep a fixed number of requests in flight."""
    return lambda num_sent, num_answered, now_s: now_s if num_sent - num_answered < at_once else math.inf


def open_loop(due_s: Sequence[float]) -> Due:
    """Return fixed due times, independent of the answers."""
    return lambda num_sent, _num_answered, _now_s: due_s[num_sent]


class Answerer(Protocol):
    """Answers requests."""

    def stream(self, requests: Sequence[LoadRequest], due: Due, timeout_s: float) -> list[tuple[float, float]]:
        """Send the requests; return the due time and the answer time of each."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturationResult:
    """The results of one contender with concurrent requests of one load.

    Attributes:
        at_once: Number of concurrent requests.
        documents_per_s: Documents per second in every turn.
        answer_s: Seconds from the due time of each arrival to its answer.
    """

    at_once: int
    documents_per_s: Sequence[float]
    answer_s: Sequence[float] = ()

    @property
    def p99_s(self) -> float | None:
        """The 99th percentile of `answer_s`."""
        return percentile(sorted(self.answer_s), 0.99)


def turn_requests(request_s: float, at_once: int) -> int:
    """Return the number of requests in one turn, from the seconds of a single request; at least twice the concurrency."""
    return min(max(math.ceil(TURN_S / request_s), 2 * at_once), MAX_REQUESTS)


def arrival_requests(requests_per_s: float) -> int:
    """Return the number of arrivals for a contender with this throughput."""
    return min(max(math.ceil(TURN_S * LOAD_SHARE * requests_per_s), MIN_ARRIVALS), MAX_REQUESTS)


def documents_per_s(answerer: Answerer, requests: Sequence[LoadRequest], at_once: int, timeout_s: float) -> float:
    """Return the documents per second with this many requests in flight. Raises the errors of `stream`."""
    times = answerer.stream(requests, closed_loop(at_once), timeout_s)
    return sum(len(request.documents) for request in requests) / times[-1][1]


def answer_s(answerer: Answerer, requests: Sequence[LoadRequest], per_s: float, seed: str, timeout_s: float) -> list[float]:
    """Return the seconds of each answer when requests arrive at this rate. Raises the errors of `stream`."""
    due_s = list(islice(arrivals(per_s, seed), len(requests)))
    return [answered_s - due_s for due_s, answered_s in answerer.stream(requests, open_loop(due_s), timeout_s)]
