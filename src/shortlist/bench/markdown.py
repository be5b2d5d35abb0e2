"""A report in a document: between two markers, so that the words around it are people's own and stay."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from shortlist.bench import cells
from shortlist.bench.report import OURS, Report
from shortlist.errors import BadSetting

BEGIN: Final = "<!-- measured{}: begin; written by shortlist bench, do not edit -->"
END: Final = "<!-- measured{}: end -->"


def markers(path: Path) -> tuple[str, str]:
    """Return what encloses the place for a report: `page.md#name` has one of its own beside those of other names."""
    name = path.name.partition("#")[2]
    return BEGIN.format(f" {name}" if name else ""), END.format(f" {name}" if name else "")


def page(path: Path) -> Path:
    """Return the document itself."""
    return path.with_name(path.name.partition("#")[0])


def block(report: Report, path: Path, picture: str | None = None) -> str:
    """Return the report as Markdown, markers included; with a picture, if there is one at this address."""
    begin, end = markers(path)
    shown = ["", f"![Seconds per request of every contender, one panel per load]({picture})"] if picture else []
    return "\n".join([begin, *shown, *_lines(report), "", end])


def write_block(report: Report, path: Path, picture: Path | None = None) -> None:
    """Put the report between the markers of a document, or write a new one that is nothing else.

    Args:
        report: What to show.
        path: The document; with #name, the place of that name in it.
        picture: A chart of the same report, to be shown above the tables.

    Raises:
        BadSetting: there is a document, but no markers in it.
    """
    before, after = around(path)
    address = Path(os.path.relpath(picture, path.parent)).as_posix() if picture else None
    page(path).write_text(f"{before}{block(report, path, address)}{after}", encoding="utf-8")


def around(path: Path) -> tuple[str, str]:
    """Return what stands before and after the place for the report. Raises what `write_block` raises."""
    if not page(path).exists():
        return "", "\n"
    first, last = markers(path)
    before, begin, rest = page(path).read_text(encoding="utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise BadSetting(f"{page(path)} has no place for the tables: a line {first!r}, and after it a line {last!r}.")
    return before, after


def _lines(report: Report) -> Iterator[str]:
    yield ""
    yield f"Machine: {cells.machine_line(report)}."
    yield from _table(cells.CONTENDERS, list(cells.contender_rows(report)))
    for load in report.rounds:
        yield ""
        yield f"### {load}"
        yield from _table(cells.LOADS, list(cells.load_rows(report, load)))
    yield ""
    for note in (*cells.notes(report), *(f"Left out: {why}." for why in cells.left_out(report))):
        yield f"- {_plain(note)}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' if name in cells.WORDS else '---:' for name in columns)} |"
    for row in rows:
        marked = (f"**{row[0]}**", *row[1:]) if row[0] == OURS else row
        yield f"| {' | '.join(map(_plain, marked))} |"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
