"""A report in the terminal: who took part, how right they are, how fast they are under every load."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from shortlist.bench import cells
from shortlist.bench.report import OURS, Report


def parts(report: Report) -> Iterator[RenderableType]:
    """Yield the parts of the page, top to bottom."""
    yield Text(cells.machine_line(report.machine), style="dim")
    yield grid("Contenders", *_without_what(cells.CONTENDERS, list(cells.contender_rows(report))))
    for name, what, *_ in cells.contender_rows(report):
        yield Text(f"{name}: {what}", style="dim")
    for load in report.rounds:
        yield grid(load, cells.LOADS, list(cells.load_rows(report, load)))
        if report.many:
            yield grid(f"{load}, many at once", cells.MANY, list(cells.many_rows(report, load)))
    yield Text()
    for note in cells.notes(report):
        yield Text(note, style="dim")
    for why in cells.left_out(report):
        yield Text.assemble(("left out: ", "yellow"), why)


def _without_what(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Leave out a column that is too wide for a terminal; it is said below the table."""
    place = columns.index("what")
    return [*columns[:place], *columns[place + 1 :]], [[*row[:place], *row[place + 1 :]] for row in rows]


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str] = cells.WORDS) -> Table:
    """Return a table; columns that are words stand left, and our own row stands out."""
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        # Where there is no room for all, names are folded; half a number would be another number.
        is_word = name in words
        table.add_column(name, justify="left" if is_word else "right", no_wrap=not is_word, overflow="fold", header_style="dim")
    for row in rows:
        named = (cell for name, cell in zip(columns, row, strict=True) if name in words)
        table.add_row(*map(Text, row), style="green" if OURS in named else None)
    return table
