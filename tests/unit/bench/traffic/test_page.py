"""The page is one file that needs nothing else, says what the tables say, and quotes without running what it quotes."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from shortlist.bench.traffic import page, svg
from shortlist.bench.traffic.curve import COLOURS, figures
from shortlist.bench.traffic.result import LoadReport
from tests.support.reports import MACHINE
from tests.support.visits import RATE, TEN, good, plan, report, visit

NASTY = "<script>alert('x')</script> & \"quoted\""


class Reader(HTMLParser):
    """Notes tags, attributes, and the cells of tables."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] in {"td", "th"}:
            self.cells.append(data)


def read(found: LoadReport) -> Reader:
    reader = Reader()
    reader.feed(page.written(found))
    assert reader.open == []
    return reader


def shapes(found: LoadReport, number: int = 0) -> ET.Element:
    return ET.fromstring(svg.drawn(figures(found)[number]))


# -- the page -----------------------------------------------------------------------------------------------------------


def test_it_needs_nothing_else() -> None:
    text = page.written(report())
    reader = read(report())
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert not {name for name, _ in reader.attributes} & {"src", "href", "onload", "onclick"}
    assert "@import" not in text
    assert "url(" not in text


def test_it_has_the_tables_and_all_around_them() -> None:
    reader = read(report())
    flat = " ".join(" ".join(reader.text).split())
    for words in ("Under load: ours, peer", "Example CPU, 4 cores", "http://localhost:8081/v1/rerank", MACHINE.command):
        assert words in flat
    assert "100 users, peer: 2 × 500 <engine> error" in flat
    assert reader.cells[:9] == ["load", "contender", "QPS", "docs/s", "p50", "p95", "p99", "of first", "ratio"]
    assert reader.cells[9:18] == ["10 users", "ours", "20.0", "200", "0.500", "1.00", "1.00", "1.00", "1.00"]


def test_what_others_wrote_is_shown_and_not_obeyed() -> None:
    machine = replace(MACHINE, command=NASTY, cpu=NASTY)
    servers = plan(f"{NASTY}=http://a", levels=[TEN])
    found = report(machine=machine, plan=servers, visits=[visit(NASTY, TEN, good([1.0]), reasons={NASTY: 2})])
    reader = read(found)
    assert "script" not in reader.tags
    assert sum(NASTY in text for text in reader.text) >= 5
    assert any(value == NASTY for _, value in reader.attributes) is False


def test_it_follows_light_and_dark() -> None:
    text = page.written(report())
    assert "prefers-color-scheme: dark" in text
    for number in range(len(COLOURS)):
        assert text.count(f"--c{number}:") == 2
        assert f"var(--c{number})" in text
    assert not re.search(r"LIGHT|DARK|COLOURS", text)


@pytest.mark.parametrize("found", [report(visits=[]), report(visits=report().visits[:1]), report(was_stopped=True)])
def test_any_report_has_a_page(found: LoadReport) -> None:
    assert read(found).tags.count("figure") == (1 if found.visits else 0)


def test_users_and_rates_have_a_figure_each() -> None:
    visits = [visit("ours", level, good([1.0])) for level in (TEN, RATE)]
    assert read(report(plan=plan("ours=http://a", levels=[TEN, RATE]), visits=visits)).tags.count("svg") == 2


# -- the drawing ----------------------------------------------------------------------------------------------------------


def test_every_point_is_drawn_in_its_place() -> None:
    drawing = shapes(report())
    circles = list(drawing.iter("circle"))
    assert len(circles) == 2 * 2 * 2  # panels, servers, levels
    speed = {circle.findtext("title"): (float(circle.get("cx", "")), float(circle.get("cy", ""))) for circle in circles[:4]}
    assert set(speed) == {"ours, 10: 200", "ours, 100: 220", "peer, 10: 100", "peer, 100: 50.0"}
    assert speed["ours, 10: 200"][0] == speed["peer, 10: 100"][0] < speed["peer, 100: 50.0"][0]
    heights = [speed[name][1] for name in ("ours, 100: 220", "ours, 10: 200", "peer, 10: 100", "peer, 100: 50.0")]
    assert heights == sorted(heights)  # downwards
    bottom = svg.TOP + svg.SPEED_HEIGHT
    assert (bottom - heights[1]) / (bottom - heights[2]) == pytest.approx(2, rel=0.01)  # twice as fast is twice as high


def test_everything_is_inside() -> None:
    drawing = shapes(report(plan=plan(within_s=30)))
    _, _, width, height = map(float, drawing.get("viewBox", "").split())
    for element in drawing.iter():
        for name, most in (
            ("x", width),
            ("x1", width),
            ("x2", width),
            ("cx", width),
            ("y", height),
            ("y1", height),
            ("cy", height),
        ):
            value = element.get(name)
            assert value is None or 0 <= float(value) <= most


def test_the_first_server_is_in_front_and_has_the_first_colour() -> None:
    groups = [group.get("class") for group in shapes(report()).iter("g")]
    assert groups == ["curve c1", "curve c0"] * 2


def test_a_gap_is_not_bridged() -> None:
    three = [TEN, RATE.of_users(30), RATE.of_users(100)]
    visits = [visit("ours", level, good([1.0])) for level in (three[0], three[2])] + [visit("peer", three[1], good([1.0]))]
    drawing = shapes(report(plan=plan(levels=three), visits=visits))
    assert not [line for group in drawing.iter("g") for line in group.iter("line")]


def test_rounds_are_drawn_as_a_range() -> None:
    visits = [visit("ours", TEN, good([1.0] * count), turn=turn) for turn, count in enumerate((10, 30))]
    drawing = shapes(report(plan=plan("ours=http://a", levels=[TEN], repeats=2), visits=visits))
    assert len([line for line in drawing.iter("line") if line.get("class") == "range"]) == 1


def test_a_bound_is_a_line_with_its_words() -> None:
    drawing = shapes(report(plan=plan(within_s=30)))
    assert len([line for line in drawing.iter("line") if line.get("class") == "bound"]) == 1
    assert "in time: 30 s" in [text.text for text in drawing.iter("text")]


def test_names_of_curves_that_end_together_do_not_lie_on_each_other() -> None:
    urls = [f"s{number}=http://h{number}" for number in range(5)]
    visits = [visit(f"s{number}", TEN, good([1.0] * (100 + number))) for number in range(5)]
    drawing = shapes(report(plan=plan(*urls, levels=[TEN]), visits=visits))
    places = sorted(float(text.get("y", "")) for text in drawing.iter("text") if (text.get("class") or "").startswith("name"))
    assert len(places) == 10  # in both panels
    upper = places[:5]
    assert all(later - earlier >= svg.LABEL - 0.2 for earlier, later in pairwise(upper))
