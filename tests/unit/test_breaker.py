"""A sick neighbour is left alone, asked once in a while, and welcome back."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.breaker import Breaker, BreakerLimits, BreakerState

LIMITS = BreakerLimits(max_failures=3, rest_s=1.0, max_rest_s=4.0)


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(LIMITS)


def fail(breaker: Breaker, now_s: float, times: int = LIMITS.max_failures) -> list[bool]:
    return [breaker.failed(now_s) for _ in range(times)]


def test_healthy_neighbour_is_called(breaker: Breaker) -> None:
    assert all(breaker.may_call(float(now_s)) for now_s in range(100))


def test_opens_at_the_failure_limit_and_logs_once(breaker: Breaker) -> None:
    assert fail(breaker, 0.0) == [False, False, True]
    assert breaker.state is BreakerState.OPEN
    assert fail(breaker, 0.0) == [False, False, False]


def test_failures_that_are_not_in_a_row_do_not_open(breaker: Breaker) -> None:
    for _ in range(10):
        fail(breaker, 0.0, 2)
        assert not breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_no_call_while_the_breaker_is_open(breaker: Breaker) -> None:
    fail(breaker, 10.0)
    assert not any(breaker.may_call(now_s) for now_s in (10.0, 10.5, 10.999))


def test_one_probe_is_sent_after_the_pause(breaker: Breaker) -> None:
    fail(breaker, 10.0)
    assert [breaker.may_call(11.0) for _ in range(5)] == [True, False, False, False, False]
    assert breaker.state is BreakerState.HALF_OPEN


def test_probe_that_succeeds_closes_and_forgets(breaker: Breaker) -> None:
    fail(breaker, 0.0)
    breaker.may_call(1.0)
    assert breaker.succeeded()
    assert breaker.may_call(1.0)
    assert fail(breaker, 1.0) == [False, False, True]
    assert breaker.may_call(2.0), "the rest is as short as at first"


def test_every_probe_that_fails_doubles_the_rest_up_to_its_limit(breaker: Breaker) -> None:
    now_s, rests = 0.0, []
    fail(breaker, now_s)
    for _ in range(5):
        began_s = now_s
        while not breaker.may_call(now_s):
            now_s += 0.25
        rests.append(now_s - began_s)
        assert not breaker.failed(now_s)
    assert rests == [1.0, 2.0, 4.0, 4.0, 4.0]


def test_lost_probe_delays_the_next_by_one_pause(breaker: Breaker) -> None:
    fail(breaker, 0.0)
    assert breaker.may_call(1.0)
    assert not breaker.may_call(1.9)
    assert breaker.may_call(2.0)


def test_late_answer_from_before_it_opened_does_not_close_it(breaker: Breaker) -> None:
    fail(breaker, 0.0)
    assert not breaker.succeeded()
    assert breaker.state is BreakerState.OPEN
    assert not breaker.may_call(0.5)


def test_late_failures_from_before_it_opened_do_not_prolong_the_rest(breaker: Breaker) -> None:
    fail(breaker, 0.0)
    fail(breaker, 0.9, 50)
    assert breaker.may_call(1.0)


def test_trip_opens_at_once(breaker: Breaker) -> None:
    assert breaker.trip(5.0)
    assert not breaker.may_call(5.9)
    assert breaker.may_call(6.0)
    assert not breaker.trip(6.0), "it was not closed"


Moves = st.lists(st.tuples(st.sampled_from(["call", "succeeded", "failed"]), st.floats(0, 3)), max_size=60)


@given(Moves)
def test_probes_are_one_pause_apart_and_recovery_stays_possible(moves: list[tuple[str, float]]) -> None:
    breaker, now_s = Breaker(LIMITS), 0.0
    probes: list[float] = []
    for move, later_s in moves:
        now_s += later_s
        if move == "call":
            was_closed = breaker.state is BreakerState.CLOSED
            if breaker.may_call(now_s) and not was_closed:
                probes.append(now_s)
        elif move == "failed":
            breaker.failed(now_s)
        elif breaker.succeeded():
            probes.clear()
    assert all(later - earlier >= LIMITS.rest_s for earlier, later in itertools.pairwise(probes))
    assert breaker.may_call(now_s + LIMITS.max_rest_s)
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
