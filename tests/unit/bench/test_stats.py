"""Arrivals come at their rate, independently of each other; percentiles are values that were measured."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice, pairwise, takewhile
from statistics import mean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.bench.stats import Spread, arrivals, percentile


def test_a_spread_is_a_median_with_its_ends() -> None:
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert Spread.of([1.0, 2.0]).median == 1.5


# -- arrivals -----------------------------------------------------------------------------------------------------------


@given(rate=st.floats(0.1, 1000), seed=st.text(max_size=5))
def test_arrivals_go_on_and_never_back(rate: float, seed: str) -> None:
    found = list(islice(arrivals(rate, seed), 200))
    assert found[0] > 0
    assert all(one <= next_one for one, next_one in pairwise(found))
    assert found == list(islice(arrivals(rate, seed), 200))


def test_another_seed_is_another_schedule() -> None:
    assert list(islice(arrivals(10, "a"), 5)) != list(islice(arrivals(10, "b"), 5))


@pytest.mark.parametrize("rate", [5.0, 200.0])
def test_arrivals_come_at_their_rate_and_like_poissons(rate: float) -> None:
    found = list(islice(arrivals(rate, "seed"), 20_000))
    gaps = [later - earlier for earlier, later in pairwise(found)]
    assert mean(gaps) == pytest.approx(1 / rate, rel=0.05)
    assert pstdev(gaps) == pytest.approx(1 / rate, rel=0.05)  # what a steady clock would not do
    within = list(takewhile(lambda at_s: at_s < 60, arrivals(rate, "other")))
    assert len(within) == pytest.approx(60 * rate, rel=0.2)


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
def test_percentiles_equal_counting(values: list[float], share: float, found: float) -> None:
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
