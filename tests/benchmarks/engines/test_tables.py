"""Tests the tables for the terminal and for documents: contenders, agreement, memory, speed, and dropped contenders."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.engines import tables
from benchmarks.engines.protocol import Ready
from benchmarks.engines.report import Report, Round
from benchmarks.engines.roofline import Work
from benchmarks.engines.saturation import SaturationResult
from benchmarks.engines.tables import block, write_block
from shortlist.bench.markdown import around, markers
from shortlist.bench.tables import machine_line, short
from shortlist.errors import BadSetting
from tests.support.reports import MACHINE, entry, report

BEGIN, END = markers(Path("page.md"))


def page(found: Report, width: int = 80) -> str:
    output = StringIO()
    console = Console(file=output, width=width, highlight=False)
    for part in tables.parts(found):
        console.print(part)
    return output.getvalue()


# -- cells --------------------------------------------------------------------------------------------------------------


def test_contenders_have_versions_and_agreement() -> None:
    rows = list(tables.contender_rows(report()))
    assert rows == [
        ("ours", "ours 1.0", "bfloat16", "1.50 GiB", "0.010", "0.040", "0.980"),
        ("official", "official 1.0", "bfloat16", "1.50 GiB", "reference", "", ""),
        ("odd|one", "odd|one 1.0", "bfloat16", "1.50 GiB", "2.500", "5.000", "0.100"),
        ("gone", "-", "-", "-", "-", "-", "-"),
    ]
    assert all(len(row) == len(tables.CONTENDER_COLUMNS) for row in rows)


def test_gpu_memory_is_beside_process_memory() -> None:
    entries = [entry("ours", gpu_bytes=5 * 1024**3 // 4), entry("peer", peak_bytes=None, gpu_bytes=1024**3), entry("none")]
    found = report(entries=entries, machine=replace(MACHINE, gpu="Example GPU"))
    assert [row[3] for row in tables.contender_rows(found)] == ["1.50 + 1.25 GiB", "1.00 GiB", "1.50 GiB"]
    assert machine_line(found.machine).startswith("Example GPU, Example CPU, 4 cores")
    assert "of the GPU's" in " ".join(tables.notes(found))
    assert "GPU" not in " ".join(tables.notes(report()))


def test_loads_show_medians_with_their_spreads() -> None:
    assert list(tables.load_rows(report(), "10x100")) == [
        ("ours", "2.00", "1.00–4.00", "1.00", "1.00–1.00", "400", "40%"),
        ("official", "4.00", "3.00–4.00", "2.00", "1.00–3.00", "200", "-"),
    ]


def test_notes_name_the_compared_engines() -> None:
    notes = " ".join(tables.notes(report()))
    assert "official over 25 documents" in notes
    assert "3 here" in notes
    assert "1 GFLOP/s" in notes
    assert "Floor" not in " ".join(tables.notes(report(floors=[])))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0.0, "0"),
        (0.00412, "0.0041"),
        (0.0412, "0.0412"),
        (0.4126, "0.413"),
        (0.9999, "1.00"),
        (4.126, "4.13"),
        (41.26, "41.3"),
        (4126.4, "4126"),
    ],
)
def test_numbers_have_three_significant_digits(number: float, words: str) -> None:
    assert short(number) == words


# -- terminal -----------------------------------------------------------------------------------------------------------


def test_terminal_report_fits_80_columns() -> None:
    shown = page(report())
    assert max(map(len, shown.splitlines())) <= 80
    flat = " ".join(shown.split())
    for words in ("Example CPU, 4 cores, 8 GiB", "torch 2.0", "10x100", "mixed", "1.00–3.00", "reference", "0.980"):
        assert words in flat
    assert "left out: gone: <no> [such] program" in flat
    assert "left out: odd|one is not ranked: its scores are 2.50 apart" in flat


def test_long_names_and_times_are_not_cut() -> None:
    version = "sentence-transformers 6.1.0, transformers 5.23.0, torch 2.13.0+cpu"
    peer = entry("sentence_transformers", ready=Ready(name="peer", version=version, dtype="bfloat16"))
    rounds = [
        Round(work=Work(num_tokens=90_000, num_pairs=0), seconds={"ours": 0.0613 * turn, "sentence_transformers": 123.4 * turn})
        for turn in (1, 2, 3)
    ]
    shown = page(report(entries=[entry("ours"), peer], reference="ours", rounds={"1x4000": rounds}))
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert "sentence_transformers 247 123–370 2013 2013–2013 365 -" in " ".join(shown.split())
    assert version in " ".join(shown.split())


def test_concurrent_requests_have_a_table_sorted_by_throughput() -> None:
    results = {
        "ours": SaturationResult(at_once=16, documents_per_s=[300.0, 100.0, 200.0], answer_s=[0.5] * 99 + [7.0]),
        "official": SaturationResult(at_once=1, documents_per_s=[400.0, 400.0, 400.0], answer_s=[]),
    }
    shown = page(report(many={"10x100": results}))
    assert "10x100, concurrent requests" in shown
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines.index("official 1 400 400–400 0.500 -") + 1 == lines.index("ours 16 200 100–300 1.00 0.500 s")
    assert "99 of 100" in " ".join(lines)
    assert "at once" not in page(report())


# -- documents ----------------------------------------------------------------------------------------------------------


def test_document_has_the_same_cells() -> None:
    text = block(report(), Path("page.md"))
    assert text.startswith(BEGIN)
    assert text.endswith(END)
    assert "| **ours** | 2.00 | 1.00–4.00 | 1.00 | 1.00–1.00 | 400 | 40% |" in text
    assert "| odd\\|one | odd\\|one 1.0 |" in text
    assert "- Left out: gone: &lt;no> [such] program." in text
    widths = {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {len(tables.LOAD_COLUMNS) + 1}
    assert len(tables.LOAD_COLUMNS) == len(tables.CONTENDER_COLUMNS)


def test_text_around_the_tables_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"# 标题\n\n{BEGIN}\nold\n{END}\n\nafter\n", encoding="utf-8")
    write_block(report(), path)
    write_block(report(), path)
    text = path.read_text(encoding="utf-8")
    assert text == f"# 标题\n\n{block(report(), Path('page.md'))}\n\nafter\n"


def test_picture_address_is_relative_to_the_document(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "page.md"
    path.parent.mkdir()
    write_block(report(), path, tmp_path / "docs" / "images" / "a.png")
    assert "](images/a.png)" in path.read_text(encoding="utf-8")
    write_block(report(), path, tmp_path / "b.png")
    assert "](../b.png)" in path.read_text(encoding="utf-8")
    write_block(report(), path)
    assert "![" not in path.read_text(encoding="utf-8")


def test_new_document_has_only_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "new.md"
    write_block(report(), path)
    assert path.read_text(encoding="utf-8") == f"{block(report(), Path('page.md'))}\n"
    assert around(path) == ("", "\n")


@pytest.mark.parametrize("text", ["", "words", BEGIN, f"{END}\n{BEGIN}"])
def test_document_without_markers_is_not_changed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(BadSetting, match="no place"):
        write_block(report(), path)
    assert path.read_text() == text
