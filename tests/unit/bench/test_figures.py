"""Curves say what the rows say, scales fit every value, and whatever was measured can be drawn, even nothing."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from shortlist.bench import figures
from shortlist.bench.figures import COLOURS, STYLE
from shortlist.bench.outputs import can_draw
from shortlist.bench.plan import Loop
from shortlist.bench.report import LoadReport
from tests.support.level_runs import HUNDRED, RATE, TEN, good, level_run, plan, report

pytestmark = pytest.mark.skipif(not can_draw(), reason="matplotlib comes with the extra bench")


def axes(found: LoadReport, loop: Loop = Loop.CLOSED) -> tuple[Any, Any]:
    """Return the two panels, laid out: speed and latency."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        made = figures.figure(found, [loop])
        made.draw_without_rendering()
    speed, latency = made.axes
    return speed, latency


def curves(panel: Any) -> list[list[float]]:
    """Return the values of every curve, in the order of the servers."""
    return [list(map(float, container.lines[0].get_ydata())) for container in reversed(panel.containers)]


def named(panel: Any) -> list[str]:
    return [text.get_text() for text in panel.get_legend().get_texts()]


# -- curves -------------------------------------------------------------------------------------------------------------


def test_curves_equal_the_rows() -> None:
    speed, latency = axes(report())
    assert curves(speed) == [[200, 220], [100, 50]]
    assert curves(latency) == [[1, 2], [0.9, 4]]
    assert [label.get_text() for label in latency.get_xticklabels()] == ["10", "100"]
    assert latency.get_xlabel() == "Users at once"


def test_users_and_rates_have_figures_of_their_own() -> None:
    level_runs = [level_run("ours", level, good([1.0])) for level in (TEN, RATE)]
    both = report(plan=plan("ours=http://a", levels=[TEN, RATE]), level_runs=level_runs)
    assert figures.loops(both) == [Loop.CLOSED, Loop.OPEN]
    _, latency = axes(both, Loop.OPEN)
    assert ([label.get_text() for label in latency.get_xticklabels()], latency.get_xlabel()) == (["20"], "Arrivals a second")
    assert figures.loops(report(level_runs=[])) == []


def test_missing_values_are_gaps() -> None:
    level_runs = [level_run("ours", TEN, good([1.0])), level_run("ours", HUNDRED), level_run("peer", HUNDRED, good([1.0]))]
    speed, latency = axes(report(level_runs=level_runs))
    assert [[math.isnan(value) for value in curve] for curve in curves(speed)] == [[False, False], [True, False]]
    assert [[math.isnan(value) for value in curve] for curve in curves(latency)] == [[False, True], [True, False]]


def test_rounds_are_a_range() -> None:
    level_runs = [level_run("ours", TEN, good([1.0] * count), turn=turn) for turn, count in enumerate((10, 30, 20))]
    speed, _ = axes(report(plan=plan("ours=http://a", levels=[TEN], repeats=3), level_runs=level_runs))
    [container] = speed.containers
    [bar] = container.lines[2]
    assert [list(map(float, segment[:, 1])) for segment in bar.get_segments()] == [[10.0, 30.0]]
    assert curves(speed) == [[20.0]]


def test_the_first_server_is_in_front_and_has_the_first_colour() -> None:
    speed, _ = axes(report())
    assert [container.lines[0].get_color() for container in speed.containers] == [COLOURS[1], COLOURS[0]]


def test_names_stand_beside_the_curves_in_the_order_in_which_they_end() -> None:
    speed, latency = axes(report())
    assert named(speed) == ["ours  220", "peer  50.0"]
    assert named(latency) == ["peer  4.00", "ours  2.00"]
    assert [text.get_color() for text in speed.get_legend().get_texts()] == [COLOURS[0], COLOURS[1]]


def test_a_server_without_a_value_is_not_named() -> None:
    speed, latency = axes(report(level_runs=[level_run("ours", TEN), level_run("peer", TEN, good([1.0]))]))
    assert named(speed) == ["peer  1.00", "ours  0"]
    assert named(latency) == ["peer  1.00"]


# -- scales -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 30, 195, 2222])
def test_speed_is_on_a_scale_from_0_that_ends_at_a_mark(count: int) -> None:
    speed, _ = axes(report(plan=plan("ours=http://a", levels=[TEN]), level_runs=[level_run("ours", TEN, good([1.0] * count))]))
    low, high = speed.get_ylim()
    assert low == 0
    assert count <= high <= 2.6 * count  # and not mostly empty
    ticks = list(map(float, speed.get_yticks()))
    assert ticks[0] == 0
    assert ticks[-1] == pytest.approx(high)
    assert 2 <= len(ticks) <= 12


@pytest.mark.parametrize(
    ("least", "most", "marks"),
    [
        (0.02, 30, ["0.01", "0.1", "1", "10", "100"]),
        (0.2, 0.9, ["0.1", "0.2", "0.5", "1"]),
        (0.0002, 0.0009, ["0.0001", "0.0002", "0.0005", "0.001"]),
    ],
)
def test_latency_is_on_a_scale_of_whole_decades(least: float, most: float, marks: list[str]) -> None:
    level_runs = [level_run("ours", TEN, good([least])), level_run("ours", HUNDRED, good([most]))]
    _, latency = axes(report(plan=plan("ours=http://a"), level_runs=level_runs))
    low, high = latency.get_ylim()
    shown = [
        label.get_text() for label, at in zip(latency.get_yticklabels(), latency.get_yticks(), strict=True) if low <= at <= high
    ]
    assert shown == marks
    assert (low, high) == pytest.approx((float(marks[0]), float(marks[-1])))


def test_deadline_is_on_the_scale_with_a_label() -> None:
    _, latency = axes(report(plan=plan(within_s=200)))
    assert latency.get_ylim()[1] >= 200
    assert [text.get_text() for text in latency.texts] == ["in time: 200 s"]
    assert [list(line.get_ydata()) for line in latency.lines if line.get_linestyle() == "--"] == [[200, 200]]


# -- pictures -----------------------------------------------------------------------------------------------------------


def drawn(found: LoadReport, path: Path) -> Image.Image:
    figures.draw(found, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.convert("RGB")


def count(image: Image.Image, colour: str) -> int:
    wanted = tuple(bytes.fromhex(colour[1:]))
    return sum(number for number, found in image.getcolors(maxcolors=1 << 24) or [] if found == wanted)


def test_every_server_has_its_colour(tmp_path: Path) -> None:
    image = drawn(report(), tmp_path / "a.png")
    assert [count(image, colour) > 500 for colour in COLOURS[:3]] == [True, True, False]


def test_a_bound_and_ranges_are_drawn(tmp_path: Path) -> None:
    level_runs = [level_run("ours", TEN, good([1.0] * number), turn=turn) for turn, number in enumerate((10, 90))]
    found = report(plan=plan("ours=http://a", levels=[TEN], repeats=2, within_s=30), level_runs=level_runs)
    assert count(drawn(found, tmp_path / "a.png"), COLOURS[0]) > 300


@pytest.mark.parametrize(("levels", "columns"), [([], 1), ([TEN], 1), ([RATE], 1), ([TEN, RATE], 2)])
def test_users_and_rates_stand_side_by_side(tmp_path: Path, levels: list[object], columns: int) -> None:
    level_runs = [level_run("ours", level, good([1.0])) for level in levels]  # type: ignore[arg-type]
    found = report(plan=plan("ours=http://a", levels=[TEN, RATE]), level_runs=level_runs)
    assert drawn(found, tmp_path / "a.png").width == figures.WIDTH_IN * columns * 160


@pytest.mark.parametrize("within_s", [None, 30])
def test_a_server_without_an_answer_is_no_obstacle(tmp_path: Path, within_s: float | None) -> None:
    drawn(report(plan=plan(within_s=within_s), level_runs=[level_run("ours", TEN), level_run("peer", TEN)]), tmp_path / "a.png")


def test_a_drawing_for_a_page_is_one_element_without_addresses() -> None:
    text = figures.svg(report(), Loop.CLOSED)
    drawing = ET.fromstring(text)
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert not list(drawing.iter("{http://www.w3.org/2000/svg}metadata"))
    links = [value for each in drawing.iter() for name, value in each.attrib.items() if name.endswith("href")]
    assert all(link.startswith("#") for link in links)
    assert text == figures.svg(report(), Loop.CLOSED), "the same report is the same page"


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a$b$c", "_under", "文档 & co"])
def test_names_are_drawn_letter_by_letter(name: str) -> None:
    found = report(plan=plan(f"{name}=http://a", levels=[TEN]), level_runs=[level_run(name, TEN, good([1.0]))])
    drawing = ET.fromstring(figures.svg(found, Loop.CLOSED))
    assert sum(name in "".join(each.itertext()) for each in drawing.iter("{http://www.w3.org/2000/svg}text")) == 2
    assert "script" not in {each.tag.rpartition("}")[2] for each in drawing.iter()}


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear_parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear_parts, strict=True))


def test_names_can_be_read_in_their_colours() -> None:
    """Source: WCAG 2.2, 1.4.3: a contrast of at least 4.5 to 1, or of 3 for large text; on white."""
    assert all(1.05 / (luminance(colour) + 0.05) >= 4 for colour in COLOURS)
    assert len(set(COLOURS)) == len(COLOURS)
    assert all(one != other for one, other in pairwise(COLOURS))
