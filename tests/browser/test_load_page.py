"""The load report in a real browser: it fetches nothing, nothing overflows, and labels do not overlap."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from shortlist.bench import html_page
from tests.browser.conftest import NewPage
from tests.support.level_runs import report

pytestmark = pytest.mark.browser

BOXES_JS = (
    "(all) => all.map((each) => { const {x, y, width, height} = each.getBoundingClientRect(); return {x, y, width, height} })"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("load") / "load.html"
    path.write_text(html_page.written(report()), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_report_fits_any_width_in_light_and_dark(
    new_page: NewPage, address: str, width: int, scheme: str, is_dark: bool
) -> None:
    observed = new_page(width=width, scheme=scheme)
    observed.page.goto(address)
    assert observed.page.evaluate("document.documentElement.scrollWidth") == width
    ground = str(observed.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (sum(map(int, ground[4:-1].split(",")[:3])) < 380) is is_dark
    assert observed.page.evaluate("performance.getEntriesByType('resource').length") == 0
    assert observed.requested_urls == [address]


def test_labels_do_not_overlap(new_page: NewPage, address: str) -> None:
    observed = new_page()
    observed.page.goto(address)
    boxes: list[dict[str, Any]] = observed.page.locator("svg text").evaluate_all(BOXES_JS)
    [picture] = observed.page.locator("svg").first.evaluate_all(BOXES_JS)
    assert len(boxes) > 10
    for one, other in combinations(boxes, 2):
        apart_x = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
        apart_y = one["y"] + one["height"] <= other["y"] + 2 or other["y"] + other["height"] <= one["y"] + 2
        assert apart_x or apart_y, (one, other)
    assert all(picture["x"] <= box["x"] and box["x"] + box["width"] <= picture["x"] + picture["width"] for box in boxes)
