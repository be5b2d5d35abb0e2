"""A plan is checked before the first request; everyone has a turn at every level, in a new random order."""

from __future__ import annotations

from collections import Counter
from math import inf, nan

import pytest

from shortlist.bench.plan import Level, LoadPlan, Loop
from shortlist.bench.target import targets
from shortlist.errors import BadSetting
from tests.support.level_runs import HUNDRED, RATE, TEN, plan


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"targets": []}, "at least one server"),
        ({"levels": []}, "one level"),
        ({"duration_s": 0}, "--duration"),
        ({"duration_s": nan}, "--duration"),
        ({"duration_s": inf}, "--duration"),
        ({"timeout_s": -1}, "--timeout"),
        ({"within_s": 0}, "--within"),
        ({"num_documents": 0}, "--documents"),
        ({"num_words": 0}, "--words"),
        ({"repeats": 0}, "--repeats"),
        ({"warm_up_s": -1}, "--warm-up"),
        ({"num_checked": -1}, "--check"),
        ({"tolerance": nan}, "--tolerance"),
        ({"seen_share": 1.01}, "--seen"),
        ({"seen_share": nan}, "--seen"),
    ],
)
def test_invalid_value_is_refused_by_its_flag(fields: dict[str, object], words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        plan(**fields)  # type: ignore[arg-type]


def test_boundary_values_are_accepted() -> None:
    plan(warm_up_s=0, num_checked=0, tolerance=0, seen_share=1, within_s=None, num_documents=1, num_words=1)


def test_everyone_has_a_turn_at_every_level_of_every_round() -> None:
    three = plan("a=http://a", "b=http://b", "c=http://c", levels=[TEN, RATE], repeats=4)
    turns = list(three.turns())
    assert len(turns) == three.num_turns == 24
    assert Counter((turn.number, turn.level, turn.target.name) for turn in turns).most_common(1)[0][1] == 1
    assert [(turn.number, turn.level) for turn in turns[::3]] == [(n, level) for n in range(4) for level in (TEN, RATE)]


def test_orders_are_random_from_the_seed() -> None:
    def orders(seed: int) -> list[str]:
        return [turn.target.name for turn in plan("a=http://a", "b=http://b", repeats=10, seed=seed).turns()]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)
    assert {"".join(orders(1)[start : start + 2]) for start in range(0, 40, 2)} == {"ab", "ba"}


def test_level_runs_draw_different_texts() -> None:
    turns = list(plan(repeats=3).turns())
    assert len({turn.seed for turn in turns}) == len(turns)


def test_plan_has_duration_and_connections() -> None:
    made = plan(levels=[TEN, HUNDRED, RATE], duration_s=20, warm_up_s=4)
    assert (made.turn_s, made.max_users) == (24, 100)
    assert plan(levels=[RATE]).max_users == 0


def test_the_defaults_are_the_articles() -> None:
    made = LoadPlan(targets=targets(["http://a"]), levels=[TEN])
    assert (made.duration_s, made.num_documents, made.repeats, made.num_checked) == (60, 10, 1, 0)


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
def test_users_are_at_least_one(users: int) -> None:
    with pytest.raises(BadSetting, match="--users"):
        Level.of_users(users)


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan")])
def test_a_rate_is_a_rate(rate: float) -> None:
    with pytest.raises(BadSetting, match="--rate"):
        Level.of_rate(rate)
