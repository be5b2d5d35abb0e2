"""How much is asked at once follows from what a contender likes and does, and what came of it is told as it was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from benchmarks.engines.saturation import (
    FEWEST,
    MOST,
    Due,
    Many,
    answer_s,
    closed,
    documents_per_s,
    late_requests,
    opened,
    turn_requests,
)
from shortlist.bench.texts import LoadRequest

REQUESTS = [LoadRequest(f"query {number}", ("one", "two")) for number in range(10)]


class Server:
    """Answers one after the other, each a second after it was due or after the one before."""

    def stream(self, requests: Sequence[LoadRequest], due: Due, timeout_s: float) -> list[tuple[float, float]]:
        turns: list[tuple[float, float]] = []
        for number in range(len(requests)):
            now_s = turns[-1][1] if turns else 0.0
            due_s = due(number, number, now_s)
            turns.append((due_s, max(due_s, now_s) + 1.0))
        return turns


def test_as_many_are_under_way_as_are_liked() -> None:
    due = closed(3)
    assert [due(asked, 5, 2.0) for asked in (5, 6, 7, 8)] == [2.0, 2.0, 2.0, math.inf]


def test_arrivals_do_not_wait_for_answers() -> None:
    assert [opened([0.1, 0.7])(number, 0, 5.0) for number in range(2)] == [0.1, 0.7]


@pytest.mark.parametrize(
    ("alone_s", "at_once", "expected"), [(0.01, 16, 300), (0.1, 16, 32), (1.0, 1, 3), (60.0, 1, 2), (1e-6, 1, MOST)]
)
def test_turn_is_long_enough_to_be_measured_and_no_longer(alone_s: float, at_once: int, expected: int) -> None:
    assert turn_requests(alone_s, at_once) == expected


@pytest.mark.parametrize(("per_s", "expected"), [(0.1, FEWEST), (20.0, 42), (1e6, MOST)])
def test_as_many_arrive_as_say_something_about_the_latest(per_s: float, expected: int) -> None:
    assert late_requests(per_s) == expected


def test_documents_a_second_are_those_of_the_whole_turn() -> None:
    assert documents_per_s(Server(), REQUESTS, 4, 60) == 2.0


def test_answer_counts_from_when_it_was_due() -> None:
    """At ten a second they pile up before a server that does one."""
    found = answer_s(Server(), REQUESTS, 10.0, "seed", 60)
    assert found[0] == pytest.approx(1.0)
    assert found[-1] > 8
    assert found == sorted(found)
    assert answer_s(Server(), REQUESTS, 1e-3, "seed", 60) == pytest.approx([1.0] * 10)


def test_slowest_of_a_hundred_is_reported() -> None:
    many = Many(at_once=1, documents_per_s=[1.0], answer_s=[*range(100, 0, -1)])
    assert many.p99_s == 99
    assert Many(at_once=1, documents_per_s=[1.0]).p99_s is None
