"""What could not be written in the end is told at the beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortlist.bench import outputs
from shortlist.bench.markdown import markers
from shortlist.bench.outputs import Outputs
from shortlist.errors import BadSetting


def test_nothing_wanted_is_nothing_wrong() -> None:
    Outputs().check()


def test_writable_outputs_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "can_draw", lambda: True)
    page = tmp_path / "page.md"
    page.write_text("\n".join(markers(Path("page.md#load"))))
    Outputs(
        json=tmp_path / "a.json", markdown=tmp_path / "page.md#load", plot=tmp_path / "a.png", page=tmp_path / "a.html"
    ).check()
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


@pytest.mark.parametrize("field", ["json", "markdown", "plot", "page"])
def test_missing_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    monkeypatch.setattr(outputs, "can_draw", lambda: True)
    with pytest.raises(BadSetting, match=r"no folder .*/nowhere to write a\.png into"):
        Outputs(**{field: tmp_path / "nowhere" / "a.png"}).check()


def test_document_without_markers_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no place here")
    with pytest.raises(BadSetting, match="no place"):
        Outputs(markdown=page).check()


def test_plot_is_a_png_and_needs_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSetting, match=r"a\.jpg should end in \.png"):
        Outputs(plot=tmp_path / "a.jpg").check()
    monkeypatch.setattr(outputs, "can_draw", lambda: False)
    with pytest.raises(BadSetting, match=r"\.\[bench\]"):
        Outputs(plot=tmp_path / "a.png").check()
    with pytest.raises(BadSetting, match=r"\.\[bench\]"):
        Outputs(page=tmp_path / "a.html").check()  # which has the same curves in it


def test_images_and_pages_are_distinguished_by_suffix() -> None:
    png, html = Path("a.png"), Path("a.html")
    assert Outputs.drawing([html, png]) == Outputs(plot=png, page=html)
    assert Outputs.drawing([png], json=Path("a.json")) == Outputs(plot=png, json=Path("a.json"))
    assert Outputs.drawing([]) == Outputs()


@pytest.mark.parametrize("names", [["a.png", "b.png"], ["a.html", "b.html"], ["a.png", "b.html", "c.png"]])
def test_two_of_a_kind_are_refused(names: list[str]) -> None:
    with pytest.raises(BadSetting, match="--plot"):
        Outputs.drawing([Path(name) for name in names])
