"""Scales have room for every value and round ticks; curves say what the rows say; names do not lie on each other."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shortlist.bench.stats import Spread
from shortlist.bench.traffic.curve import COLOURS, Curve, Panel, apart, figures, linear, logarithmic
from shortlist.bench.traffic.page import DARK
from tests.support.visits import HUNDRED, RATE, TEN, good, plan, report, visit


@given(most=st.floats(1e-6, 1e9))
def test_a_linear_scale_has_room_and_few_ticks(most: float) -> None:
    scale = linear(most)
    assert scale.ticks[0] == scale.low == 0
    assert scale.ticks[-1] == pytest.approx(scale.high)
    assert scale.high >= most * (1 - 1e-6)
    assert 2 <= len(scale.ticks) <= 6
    assert scale.high <= most * 2.6  # and not mostly empty
    assert scale.at(0) == 0
    assert scale.at(scale.high) == 1


@pytest.mark.parametrize(
    ("most", "ticks"), [(10, [0, 2, 4, 6, 8, 10]), (195, [0, 50, 100, 150, 200]), (0, [0, 0.2, 0.4, 0.6, 0.8, 1])]
)
def test_ticks_are_round(most: float, ticks: list[float]) -> None:
    assert linear(most).ticks == pytest.approx(ticks)


@given(one=st.floats(1e-4, 1e4), other=st.floats(1e-4, 1e4))
def test_a_logarithmic_scale_has_room(one: float, other: float) -> None:
    least, most = sorted((one, other))
    scale = logarithmic(least, most)
    assert scale.low <= least * (1 + 1e-9)
    assert scale.high >= most * (1 - 1e-9)
    assert scale.ticks[0] == scale.low
    assert scale.ticks[-1] == scale.high
    assert all(a < b for a, b in pairwise(scale.ticks))
    assert 0 <= scale.at(least) <= scale.at(most) <= 1


def test_a_decade_is_a_decade() -> None:
    scale = logarithmic(0.02, 30)
    assert scale.ticks == pytest.approx([0.01, 0.1, 1, 10, 100])
    assert scale.at(1) == pytest.approx(0.5)
    assert scale.at(0) == 0
    assert scale.at(math.inf) == 1
    assert logarithmic(0.2, 0.9).ticks == pytest.approx([0.1, 0.2, 0.5, 1])
    assert logarithmic(1, 1).ticks == pytest.approx([1, 2, 5, 10])


@given(places=st.lists(st.floats(0, 100), max_size=8), least=st.floats(0.1, 20))
def test_names_keep_their_order_and_their_distance(places: list[float], least: float) -> None:
    ascending = sorted(places)
    moved = apart(ascending, least)
    assert len(moved) == len(ascending)
    assert all(later - earlier >= least - 1e-6 for earlier, later in pairwise(moved))


@given(places=st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_names_that_are_far_apart_stay(places: list[float]) -> None:
    ascending = sorted(places)
    assume(all(later - earlier >= 1 for earlier, later in pairwise(ascending)))
    assert apart(ascending, 1) == pytest.approx(ascending)


def test_a_figure_says_what_the_rows_say() -> None:
    [figure] = figures(report())
    assert (figure.title, figure.loads) == ("Users at once", ["10", "100"])
    ours, peer = figure.speed.curves
    assert ours == Curve("ours", [Spread.of([200.0]), Spread.of([220.0])])
    assert [point.median if point else None for point in peer.points] == [100, 50]
    assert [[point.median if point else None for point in curve.points] for curve in figure.latency.curves] == [
        [1, 2],
        [0.9, 4],
    ]
    assert figure.speed.scale.high >= 220
    assert figure.latency.bound is None


def test_users_and_rates_have_figures_of_their_own() -> None:
    visits = [visit("ours", level, good([1.0])) for level in (TEN, RATE)]
    found = figures(report(plan=plan("ours=http://a", levels=[TEN, RATE]), visits=visits))
    assert [(figure.title, figure.loads) for figure in found] == [("Users at once", ["10"]), ("Arrivals a second", ["20"])]
    assert figures(report(visits=[])) == []


def test_what_is_missing_is_a_gap() -> None:
    found = report(visits=[visit("ours", TEN, good([1.0])), visit("ours", HUNDRED), visit("peer", HUNDRED, good([1.0]))])
    [figure] = figures(found)
    ours, peer = figure.speed.curves
    assert [point is None for point in ours.points] == [False, False]
    assert [point is None for point in peer.points] == [True, False]
    assert [point is None for point in figure.latency.curves[0].points] == [False, True]
    assert [place for place, _ in peer.known()] == [1]


def test_rounds_are_a_range() -> None:
    visits = [visit("ours", TEN, good([1.0] * count), turn=turn) for turn, count in enumerate((10, 30, 20))]
    [figure] = figures(report(plan=plan("ours=http://a", levels=[TEN], repeats=3), visits=visits))
    assert figure.speed.curves[0].points == [Spread(20.0, 10.0, 30.0)]


def test_what_is_in_time_is_on_the_scale() -> None:
    [figure] = figures(report(plan=plan(within_s=200)))
    assert figure.latency.bound == 200
    assert figure.latency.scale.high >= 200


def test_curves_end_in_the_order_of_their_values() -> None:
    curves = [Curve("a", [None, Spread.of([3.0])]), Curve("b", [None, None]), Curve("c", [Spread.of([1.0]), None])]
    ends = Panel("", curves, linear(3)).ends()
    assert [(end.number, end.name, end.value) for end in ends] == [(2, "c", 1.0), (0, "a", 3.0)]


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear_parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear_parts, strict=True))


@pytest.mark.parametrize(("colours", "ground"), [(COLOURS, "#f7f8fa"), (DARK, "#1c2025")])
def test_names_can_be_read_in_their_colours(colours: tuple[str, ...], ground: str) -> None:
    """Source: WCAG 2.2, 1.4.3: a contrast of at least 4.5 to 1; the colours of names that are bold may have 3."""
    for colour in colours:
        low, high = sorted((luminance(colour), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4, colour
    assert len(set(colours)) == len(colours)
