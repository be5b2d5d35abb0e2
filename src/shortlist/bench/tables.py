"""Tables in the terminal, numbers in them, and one line about the machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from shortlist.bench.machine import Machine

OURS: Final = "ours"
"""The name of Shortlist itself, whose rows and cells stand out."""

NOTHING: Final = "-"
_GIB: Final = 1024**3


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str]) -> Table:
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


def machine_line(machine: Machine) -> str:
    """Return where it ran, in one line."""
    memory = f"{machine.memory_bytes / _GIB:.0f} GiB, " if machine.memory_bytes else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    gpu = f"{machine.gpu}, " if machine.gpu else ""
    hardware = f"{gpu}{machine.cpu}, {machine.num_cores} cores, {memory}{machine.system}"
    return f"{hardware}, Python {machine.python}, {versions}, {machine.date}"


def short(number: float) -> str:
    """Return a number in about the three digits that matter, all of those before the point among them."""
    if not number:
        return "0"
    steps = ((99.95, 0), (9.995, 1), (0.9995, 2), (0.09995, 3))
    return f"{number:.{next((digits for least, digits in steps if number >= least), 4)}f}"
