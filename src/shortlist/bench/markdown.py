"""A report in a document: between two markers, so that the words around it are people's own and stay."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
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
    return enclosed([*shown(picture, "Seconds per request of every contender, one panel per load"), *_lines(report)], path)


def write_block(report: Report, path: Path, picture: Path | None = None) -> None:
    """Put the report between the markers of a document, or write a new one that is nothing else.

    Args:
        report: What to show.
        path: The document; with #name, the place of that name in it.
        picture: A chart of the same report, to be shown above the tables.

    Raises:
        BadSetting: there is a document, but no markers in it.
    """
    put(block(report, path, address(picture, path)), path)


def enclosed(lines: Iterable[str], path: Path) -> str:
    """Return the lines between the markers of their place."""
    begin, end = markers(path)
    return "\n".join([begin, *lines, "", end])


def put(text: str, path: Path) -> None:
    """Put an enclosed text into its place. Raises what `write_block` raises."""
    before, after = around(path)
    page(path).write_text(f"{before}{text}{after}", encoding="utf-8")


def address(picture: Path | None, path: Path) -> str | None:
    """Return where a picture is, seen from the document."""
    return Path(os.path.relpath(picture, path.parent)).as_posix() if picture else None


def shown(picture: str | None, words: str) -> list[str]:
    """Return the lines that show a picture, with the words for those who cannot see it; none without one."""
    return ["", f"![{words}]({picture})"] if picture else []


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
    yield f"Machine: {cells.machine_line(report.machine)}."
    yield from table(cells.CONTENDERS, list(cells.contender_rows(report)))
    for load in report.rounds:
        yield ""
        yield f"### {load}"
        yield from table(cells.LOADS, list(cells.load_rows(report, load)))
        if report.many:
            yield from table(cells.MANY, list(cells.many_rows(report, load)))
    yield ""
    for note in (*cells.notes(report), *(f"Left out: {why}." for why in cells.left_out(report))):
        yield f"- {plain(note)}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str] = cells.WORDS) -> Iterator[str]:
    """Yield the lines of a table; columns that are words stand left, and our own name stands out."""
    yield ""
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' if name in words else '---:' for name in columns)} |"
    for row in rows:
        marked = [f"**{cell}**" if cell == OURS and name in words else cell for name, cell in zip(columns, row, strict=True)]
        yield f"| {' | '.join(map(plain, marked))} |"


def plain(text: str) -> str:
    """Return a text with nothing in it that a table or a page would take for its own."""
    return text.replace("|", "\\|").replace("<", "&lt;")
