"""Tests the chart: a PNG with one panel per load, for any number of loads, including none."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.engines import plot
from benchmarks.engines.report import Report
from shortlist.bench.outputs import can_draw
from tests.support.reports import report

pytestmark = pytest.mark.skipif(not can_draw(), reason="matplotlib comes with the extra bench")


def drawn(found: Report, path: Path) -> Image.Image:
    plot.draw(found, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.convert("RGB")


def num_accent_pixels(image: Image.Image) -> int:
    accent_colour = tuple(bytes.fromhex(plot.ACCENT[1:]))
    return sum(count for count, colour in image.getcolors(maxcolors=1 << 24) or [] if colour == accent_colour)


def test_shortlist_has_the_accent_colour(tmp_path: Path) -> None:
    assert num_accent_pixels(drawn(report(), tmp_path / "a.png")) > 1000


def test_chart_without_shortlist_has_no_accent_colour(tmp_path: Path) -> None:
    found = report()
    assert num_accent_pixels(drawn(report(entries=found.entries[1:]), tmp_path / "a.png")) == 0


@pytest.mark.parametrize("num_loads", [0, 1, 2, 3, 5])
def test_chart_has_any_number_of_loads(tmp_path: Path, num_loads: int) -> None:
    rounds = report().rounds["10x100"]
    image = drawn(report(rounds={f"{number + 1}x10": rounds for number in range(num_loads)}), tmp_path / "a.png")
    assert image.width == plot.WIDTH_IN[2 if num_loads > plot.MAX_STACKED else 1] * 160


def test_panel_titles_describe_the_load() -> None:
    assert plot._title("10x100") == "10 documents of 100 tokens"
    assert plot._title("1x4000") == "1 document of 4000 tokens"
    assert plot._title("mixed") == "20 documents of mixed lengths"


def test_labels_have_three_digits_and_a_ratio() -> None:
    ours, official = report().rows("10x100")
    assert plot._label(ours) == "2.00 s"
    assert plot._label(official) == "4.00 s, 2.00×"
