"""What counts as what, and what follows: speed by when answers came, latency by when requests were due."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.bench.stats import percentile
from shortlist.bench.traffic.tally import ERRORS, Check, Fate, Generator, Sample, Window, fate_of
from tests.support.visits import bad, good, visit

# -- fates --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (200, Fate.OK),
        (429, Fate.REFUSED),
        (504, Fate.TIMED_OUT),
        (500, Fate.FAILED),
        (502, Fate.FAILED),
        (503, Fate.FAILED),
        (599, Fate.FAILED),
        (400, Fate.REJECTED),
        (401, Fate.REJECTED),
        (404, Fate.REJECTED),
        (408, Fate.REJECTED),
        (302, Fate.REJECTED),
        (201, Fate.REJECTED),
        (204, Fate.REJECTED),
    ],
)
def test_a_status_is_a_fate(status: int, fate: Fate) -> None:
    assert fate_of(status) is fate


def test_only_answers_and_refusals_are_no_errors() -> None:
    assert frozenset(Fate) - {Fate.OK, Fate.REFUSED} == ERRORS


def test_every_error_is_counted_warming_up_or_not() -> None:
    samples = [each for fate in Fate for each in bad(fate, 2, due_s=1.0)]
    found = visit("ours", samples=samples)
    assert found.fates() == dict.fromkeys(Fate, 2)
    assert found.num_errors == 2 * len(ERRORS)
    assert visit("ours", samples=good([1.0]), check=Check(num_checked=9, num_wrong=4)).num_errors == 4


# -- speed and latency --------------------------------------------------------------------------------------------------


def test_speed_counts_answers_that_came_in_the_window() -> None:
    samples = [
        Sample(4.0, 0.9, Fate.OK),  # came before
        Sample(4.0, 1.0, Fate.OK),  # came as it began
        Sample(3.0, 3.0, Fate.OK),
        Sample(14.0, 0.9, Fate.OK),
        Sample(14.0, 1.0, Fate.OK),  # came as it was over
        Sample(9.0, 1.0, Fate.REFUSED),
        Sample(9.0, 1.0, Fate.WRONG),
    ]
    found = visit("ours", samples=samples)
    assert found.qps == 3 / 10
    assert found.documents_per_s == 30 / 10


def test_in_time_is_what_was_fast_enough() -> None:
    found = visit("ours", samples=good([0.5] * 10 + [1.0] * 20 + [2.0] * 30))
    assert [found.good_per_s(within_s) for within_s in (0.4, 0.5, 1.0, 9.0)] == [0, 1, 3, 6]


def test_latency_is_of_requests_due_in_the_window_however_late_their_answers() -> None:
    samples = [
        Sample(4.9, 3.0, Fate.OK),  # due before
        Sample(5.0, 2.0, Fate.OK),
        Sample(14.9, 60.0, Fate.OK),  # came long after
        Sample(15.0, 1.0, Fate.OK),  # due after
        Sample(9.0, 0.1, Fate.REFUSED),
    ]
    found = visit("ours", samples=samples)
    assert found.latencies(Fate.OK) == [2.0, 60.0]
    assert found.latencies(Fate.REFUSED) == [0.1]
    assert found.latencies(Fate.LOST) == []


def test_a_window_begins_and_does_not_reach_its_end() -> None:
    window = Window(5.0, 15.0)
    assert window.seconds == 10
    assert [at_s in window for at_s in (4.99, 5.0, 14.99, 15.0)] == [False, True, True, False]


# -- percentiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([7.0], 0.99, 7.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        (list(map(float, range(1, 101))), 0.5, 50.0),
        (list(map(float, range(1, 101))), 0.95, 95.0),
        (list(map(float, range(1, 101))), 0.99, 99.0),
        (list(map(float, range(1, 101))), 0.07, 7.0),
        (list(map(float, range(1, 1001))), 0.99, 990.0),
        (list(map(float, range(1, 51))), 0.99, 50.0),
    ],
)
def test_percentiles_are_what_one_would_count(values: list[float], share: float, found: float) -> None:
    assert percentile(values, share) == found


def test_nothing_has_no_percentile() -> None:
    assert percentile([], 0.99) is None


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=300), hundredth=st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(values: list[float], hundredth: int) -> None:
    ascending = sorted(values)
    found = percentile(ascending, hundredth / 100)
    assert found in values
    enough = Fraction(hundredth, 100) * len(values)
    assert sum(value <= found for value in values) >= enough
    assert all(sum(value <= lower for value in values) < enough for lower in values if lower < found)


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=100))
def test_percentiles_are_in_order(values: list[float]) -> None:
    found = [percentile(sorted(values), share) for share in (0.5, 0.95, 0.99)]
    assert found == sorted(found)  # type: ignore[type-var]


# -- the rest -----------------------------------------------------------------------------------------------------------


def test_checks_add_up() -> None:
    one = Check(num_checked=3, num_wrong=1, largest=0.5)
    other = Check(num_checked=4, num_unanswered=2, largest=0.25)
    assert one + other == Check(num_checked=7, num_wrong=1, num_unanswered=2, largest=0.5)
    assert one + Check() == one


@pytest.mark.parametrize(
    ("cpu_share", "lag_s", "is_limit"), [(0.1, 0.001, False), (0.8, 0.001, True), (0.1, 0.2, True), (0.7, 0.05, False)]
)
def test_a_generator_that_was_busy_or_late_may_be_the_limit(cpu_share: float, lag_s: float, is_limit: bool) -> None:
    assert Generator(cpu_share=cpu_share, lag_p99_s=lag_s).is_limit is is_limit


def test_a_request_is_over_when_its_answer_is_there() -> None:
    assert Sample(1.0, 2.5, Fate.OK).done_s == 3.5
    assert math.isinf(Sample(1.0, math.inf, Fate.LOST).done_s)
