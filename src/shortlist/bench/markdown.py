"""Writes a report between two markers of a Markdown document and keeps the text around them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from shortlist.errors import BadSetting

BEGIN: Final = "<!-- measured{}: begin; written by shortlist bench, do not edit -->"
END: Final = "<!-- measured{}: end -->"
OURS: Final = "ours"
"""Shortlist's own name; its rows and cells are emphasized."""


def markers(path: Path) -> tuple[str, str]:
    """Return the begin and end markers of a report; `page.md#name` has its own pair."""
    name = path.name.partition("#")[2]
    return BEGIN.format(f" {name}" if name else ""), END.format(f" {name}" if name else "")


def page(path: Path) -> Path:
    """Return the document path without its fragment."""
    return path.with_name(path.name.partition("#")[0])


def enclosed(lines: Iterable[str], path: Path) -> str:
    """Return the lines enclosed in their markers."""
    begin, end = markers(path)
    return "\n".join([begin, *lines, "", end])


def put(text: str, path: Path) -> None:
    """Replace the text between the markers of a document, or create a document that holds only this text.

    Raises:
        BadSetting: there is a document, but no markers in it.
    """
    before, after = around(path)
    page(path).write_text(f"{before}{text}{after}", encoding="utf-8")


def around(path: Path) -> tuple[str, str]:
    """Return the text before and after the markers. Raises what `put` raises."""
    if not page(path).exists():
        return "", "\n"
    first, last = markers(path)
    before, begin, rest = page(path).read_text(encoding="utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise BadSetting(f"{page(path)} has no place for the tables: a line {first!r}, and after it a line {last!r}.")
    return before, after


def address(picture: Path | None, path: Path) -> str | None:
    """Return the path of a picture relative to the document."""
    return Path(os.path.relpath(picture, path.parent)).as_posix() if picture else None


def shown(picture: str | None, words: str) -> list[str]:
    """Return the Markdown lines of a picture with its alt text; none without a picture."""
    return ["", f"![{words}]({picture})"] if picture else []


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str]) -> Iterator[str]:
    """Yield the lines of a table; text columns are left-aligned, and Shortlist's own name is bold."""
    yield ""
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' if name in words else '---:' for name in columns)} |"
    for row in rows:
        marked = [f"**{cell}**" if cell == OURS and name in words else cell for name, cell in zip(columns, row, strict=True)]
        yield f"| {' | '.join(map(plain, marked))} |"


def plain(text: str) -> str:
    """Escape Markdown and HTML syntax in a text."""
    return text.replace("|", "\\|").replace("<", "&lt;")
