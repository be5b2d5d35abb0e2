"""Tests the concurrent requests: their number follows from the contender's concurrency and speed, and the reported values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from benchmarks.engines.saturation import (
    MAX_REQUESTS,
    MIN_ARRIVALS,
    Due,
    SaturationResult,
    answer_s,
    arrival_requests,
    closed_loop,
    documents_per_s,
    open_loop,
    turn_requests,
)
from shortlist.bench.texts import LoadRequest

REQUESTS = [LoadRequest(f"query {number}", ("one", "two")) for number in range(10)]


class Server:
    """Answers requests one after the other, each a second after its due time or the previous answer."""

    def stream(self, requests: Sequence[LoadRequest], due: Due, timeout_s: float) -> list[tuple[float, float]]:
        times: list[tuple[float, float]] = []
        for number in range(len(requests)):
            now_s = times[-1][1] if times else 0.0
            due_s = due(number, number, now_s)
            times.append((due_s, max(due_s, now_s) + 1.0))
        return times


def test_closed_loop_keeps_the_concurrency() -> None:
    due = closed_loop(3)
    assert [due(num_sent, 5, 2.0) for num_sent in (5, 6, 7, 8)] == [2.0, 2.0, 2.0, math.inf]


def test_open_loop_does_not_wait_for_answers() -> None:
    assert [open_loop([0.1, 0.7])(number, 0, 5.0) for number in range(2)] == [0.1, 0.7]


@pytest.mark.parametrize(
    ("request_s", "at_once", "expected"), [(0.01, 16, 300), (0.1, 16, 32), (1.0, 1, 3), (60.0, 1, 2), (1e-6, 1, MAX_REQUESTS)]
)
def test_number_of_requests_in_a_turn_is_bounded(request_s: float, at_once: int, expected: int) -> None:
    assert turn_requests(request_s, at_once) == expected


@pytest.mark.parametrize(("per_s", "expected"), [(0.1, MIN_ARRIVALS), (20.0, 42), (1e6, MAX_REQUESTS)])
def test_number_of_arrivals_is_bounded(per_s: float, expected: int) -> None:
    assert arrival_requests(per_s) == expected


def test_documents_per_second_are_over_the_turn() -> None:
    assert documents_per_s(Server(), REQUESTS, 4, 60) == 2.0


def test_latency_counts_from_the_due_time() -> None:
    """Ten arrivals a second queue at a server with a throughput of one a second."""
    seconds = answer_s(Server(), REQUESTS, 10.0, "seed", 60)
    assert seconds[0] == pytest.approx(1.0)
    assert seconds[-1] > 8
    assert seconds == sorted(seconds)
    assert answer_s(Server(), REQUESTS, 1e-3, "seed", 60) == pytest.approx([1.0] * 10)


def test_p99_is_the_99th_of_100_answers() -> None:
    result = SaturationResult(at_once=1, documents_per_s=[1.0], answer_s=[*range(100, 0, -1)])
    assert result.p99_s == 99
    assert SaturationResult(at_once=1, documents_per_s=[1.0]).p99_s is None
