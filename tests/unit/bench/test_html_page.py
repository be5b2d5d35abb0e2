"""The page is one file that needs nothing else, says what the tables say, and quotes without running what it quotes."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from shortlist.bench import html_page
from shortlist.bench.outputs import can_draw
from shortlist.bench.report import LoadReport
from tests.support.level_runs import RATE, TEN, good, level_run, plan, report
from tests.support.reports import MACHINE

pytestmark = pytest.mark.skipif(not can_draw(), reason="matplotlib comes with the extra bench")

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
    reader.feed(html_page.written(found))
    assert reader.open == []
    return reader


# -- the page -----------------------------------------------------------------------------------------------------------


def test_page_has_no_external_resources() -> None:
    text = html_page.written(report())
    reader = read(report())
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert not {name for name, _ in reader.attributes} & {"src", "href", "onload", "onclick"}
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert not [value for name, value in reader.attributes if name.endswith("href") and not str(value).startswith("#")]


def test_page_has_the_tables_and_their_texts() -> None:
    reader = read(report())
    flat = " ".join(" ".join(reader.text).split())
    for words in ("Under load: ours, peer", "Example CPU, 4 cores", "http://localhost:8081/v1/rerank", MACHINE.command):
        assert words in flat
    assert "100 users, peer: 2 × 500 <engine> error" in flat
    assert reader.cells[:9] == ["load", "contender", "QPS", "docs/s", "p50", "p95", "p99", "of first", "ratio"]
    assert reader.cells[9:18] == ["10 users", "ours", "20.0", "200", "0.500", "1.00", "1.00", "1.00", "1.00"]


def test_foreign_text_is_escaped() -> None:
    machine = replace(MACHINE, command=NASTY, cpu=NASTY)
    servers = plan(f"{NASTY}=http://a", levels=[TEN])
    found = report(machine=machine, plan=servers, level_runs=[level_run(NASTY, TEN, good([1.0]), reasons={NASTY: 2})])
    reader = read(found)
    assert "script" not in reader.tags
    assert sum(NASTY in text for text in reader.text) >= 5
    assert any(value == NASTY for _, value in reader.attributes) is False


def test_page_follows_light_and_dark_and_plots_are_on_white() -> None:
    text = html_page.written(report())
    assert "prefers-color-scheme: dark" in text
    for name in ("page", "ink", "soft", "line"):
        assert text.count(f"--{name}:") == 2
        assert f"var(--{name})" in text
    assert re.search(r"figure \{[^}]*background: #ffffff", text)


@pytest.mark.parametrize("found", [report(level_runs=[]), report(level_runs=report().level_runs[:1]), report(was_stopped=True)])
def test_any_report_has_a_page(found: LoadReport) -> None:
    assert read(found).tags.count("figure") == (1 if found.level_runs else 0)


def test_users_and_rates_have_a_figure_each() -> None:
    level_runs = [level_run("ours", level, good([1.0])) for level in (TEN, RATE)]
    assert read(report(plan=plan("ours=http://a", levels=[TEN, RATE]), level_runs=level_runs)).tags.count("svg") == 2
