"""Writes a report between two markers of a document, and keeps the text around them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from shortlist.errors import BadSetting

BEGIN: Final = "<!-- measured{}: begin; written by shortlist bench, do not edit -->"
END: Final = "<!-- measured{}: end -->"
OURS: Final = "ours"
"""The name of Shortlist itself, whose rows and cells stand out."""


def markers(path: Path) -> tuple[str, str]:
    """Return what encloses the place for a report: `page.md#name` has one of its own beside those of other names."""
    name = path.name.partition("#")[2]
    return BEGIN.format(f" {name}" if name else ""), END.format(f" {name}" if name else "")


def page(path: Path) -> Path:
    """Return the document itself."""
    return path.with_name(path.name.partition("#")[0])


def enclosed(lines: Iterable[str], path: Path) -> str:
    """Return the lines between the markers of their place."""
    begin, end = markers(path)
    return "\n".join([begin, *lines, "", end])


def put(text: str, path: Path) -> None:
    """Put an enclosed text into its place: between the markers of a document, or into a new one that is nothing else.

    Raises:
        BadSetting: there is a document, but no markers in it.
    """
    before, after = around(path)
    page(path).write_text(f"{before}{text}{after}", encoding="utf-8")


def around(path: Path) -> tuple[str, str]:
    """Return what stands before and after the place for the report. Raises what `put` raises."""
    if not page(path).exists():
        return "", "\n"
    first, last = markers(path)
    before, begin, rest = page(path).read_text(encoding="utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise BadSetting(f"{page(path)} has no place for the tables: a line {first!r}, and after it a line {last!r}.")
    return before, after


def address(picture: Path | None, path: Path) -> str | None:
    """Return where a picture is, seen from the document."""
    return Path(os.path.relpath(picture, path.parent)).as_posix() if picture else None


def shown(picture: str | None, words: str) -> list[str]:
    """Return the lines that show a picture, with its description in words; none without one."""
    return ["", f"![{words}]({picture})"] if picture else []


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str]) -> Iterator[str]:
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
