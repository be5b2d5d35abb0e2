"""Arrivals come at their rate, independently of each other, and again the same from the same seed."""

from __future__ import annotations

from itertools import islice, pairwise, takewhile
from statistics import mean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.bench.stats import arrivals
from shortlist.bench.traffic.schedule import Level, Loop
from shortlist.errors import BadSetting


@pytest.mark.parametrize(
    ("level", "loop", "name"),
    [
        (Level.of_users(1), Loop.CLOSED, "1 user"),
        (Level.of_users(300), Loop.CLOSED, "300 users"),
        (Level.of_rate(50), Loop.OPEN, "50/s"),
        (Level.of_rate(0.25), Loop.OPEN, "0.25/s"),
    ],
)
def test_levels_have_names(level: Level, loop: Loop, name: str) -> None:
    assert (level.loop, level.name) == (loop, name)


@pytest.mark.parametrize("users", [0, -1])
def test_a_crowd_is_somebody(users: int) -> None:
    with pytest.raises(BadSetting, match="--users"):
        Level.of_users(users)


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan")])
def test_a_rate_is_a_rate(rate: float) -> None:
    with pytest.raises(BadSetting, match="--rate"):
        Level.of_rate(rate)


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
