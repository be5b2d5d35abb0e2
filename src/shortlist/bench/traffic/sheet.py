"""A load report in the terminal, and in a document: the same tables, the same words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from shortlist.bench import markdown, tables
from shortlist.bench.tables import machine_line
from shortlist.bench.traffic import cells
from shortlist.bench.traffic.result import LoadReport

PICTURE_WORDS = "Documents a second, and seconds within which 99 % of the answers came, over the load"


def parts(report: LoadReport) -> Iterator[RenderableType]:
    """Yield the parts of the page in the terminal, top to bottom."""
    yield Text(machine_line(report.machine), style="dim")
    for target in report.plan.targets:
        yield Text(f"{target.name}: {target.url}", style="dim")
    for sheet in cells.sheets(report):
        yield tables.grid(sheet.title, sheet.heads, sheet.rows, words=cells.WORDS)
    yield Text()
    for note in (*cells.notes(report), cells.generator_line(report)):
        yield Text(note, style="dim")
    for warning in cells.warnings(report):
        yield Text(warning, style="yellow")


def write_block(report: LoadReport, path: Path, picture: Path | None = None) -> None:
    """Put the report between the markers of a document, or write a new one that is nothing else.

    Raises:
        BadSetting: there is a document, but no markers in it.
    """
    shown = markdown.shown(markdown.address(picture, path), PICTURE_WORDS)
    markdown.put(markdown.enclosed([*shown, *_lines(report)], path), path)


def _lines(report: LoadReport) -> Iterator[str]:
    yield ""
    yield f"Machine: {machine_line(report.machine)}."
    for sheet in cells.sheets(report):
        yield from markdown.table(sheet.heads, sheet.rows, words=cells.WORDS)
    yield ""
    for note in (*cells.notes(report), cells.generator_line(report), *cells.warnings(report)):
        yield f"- {markdown.plain(note)}"
