"""The picture has the first server's colour, and room for whatever was measured, even nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from shortlist.bench.outputs import can_draw
from shortlist.bench.traffic import picture
from shortlist.bench.traffic.curve import COLOURS
from shortlist.bench.traffic.result import LoadReport
from tests.support.visits import RATE, TEN, good, plan, report, visit

pytestmark = pytest.mark.skipif(not can_draw(), reason="matplotlib comes with the extra bench")


def drawn(found: LoadReport, path: Path) -> Image.Image:
    picture.draw(found, path)
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
    visits = [visit("ours", TEN, good([1.0] * number), turn=turn) for turn, number in enumerate((10, 90))]
    found = report(plan=plan("ours=http://a", levels=[TEN], repeats=2, within_s=30), visits=visits)
    assert count(drawn(found, tmp_path / "a.png"), COLOURS[0]) > 300


@pytest.mark.parametrize(("levels", "columns"), [([], 1), ([TEN], 1), ([RATE], 1), ([TEN, RATE], 2)])
def test_users_and_rates_stand_side_by_side(tmp_path: Path, levels: list[object], columns: int) -> None:
    visits = [visit("ours", level, good([1.0])) for level in levels]  # type: ignore[arg-type]
    found = report(plan=plan("ours=http://a", levels=[TEN, RATE]), visits=visits)
    assert drawn(found, tmp_path / "a.png").width == picture.WIDTH_IN * columns * 160


def test_a_server_without_an_answer_is_no_obstacle(tmp_path: Path) -> None:
    drawn(report(visits=[visit("ours", TEN), visit("peer", TEN)]), tmp_path / "a.png")
