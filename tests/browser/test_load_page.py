"""The page of a load report in a real browser: nothing is fetched, nothing overflows, and names can be told apart."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from shortlist.bench.traffic import page
from tests.browser.chrome import browsing
from tests.support.visits import report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("load") / "load.html"
    path.write_text(page.written(report()), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_it_can_be_read_at_any_width_by_day_and_by_night(address: str, width: int, scheme: str, is_dark: bool) -> None:
    with browsing(width=width, scheme=scheme) as driver:
        driver.get(address)
        assert driver.execute_script("return document.documentElement.scrollWidth") == width
        ground = str(driver.find_element(By.TAG_NAME, "body").value_of_css_property("background-color"))
        assert (sum(map(int, ground[5:-1].split(",")[:3])) < 380) is is_dark
        assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert driver.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_names_and_ticks_do_not_lie_on_each_other(address: str) -> None:
    with browsing(width=1280) as driver:
        driver.get(address)
        boxes = [text.rect for text in driver.find_elements(By.CSS_SELECTOR, "svg text")]
        picture = driver.find_element(By.TAG_NAME, "svg").rect
    assert len(boxes) > 10
    for one, other in combinations(boxes, 2):
        apart_x = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
        apart_y = one["y"] + one["height"] <= other["y"] + 2 or other["y"] + other["height"] <= one["y"] + 2
        assert apart_x or apart_y, (one, other)
    assert all(picture["x"] <= box["x"] and box["x"] + box["width"] <= picture["x"] + picture["width"] for box in boxes)
