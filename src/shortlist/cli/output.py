"""Output of `rerank`: tables for terminals, JSON lines for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

import orjson
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shortlist.cli.checkpoint import Digest
from shortlist.cli.input import InputGroup
from shortlist.client import NotRanked, RankedText
from shortlist.client.progress import Bar
from shortlist.errors import ServiceError

BAR_WIDTH: Final = 20
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
"""Control characters, which are not written to terminals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedGroup:
    """A ranked group.

    Attributes:
        group: The group of the input.
        model: Name of the model.
        results: The documents, most relevant first.
        failed: Documents without a score.
        truncated: Indices of truncated documents.
        error: The error of the whole group, or None.
    """

    group: InputGroup
    model: str | None = None
    results: tuple[RankedText, ...] = ()
    failed: tuple[NotRanked, ...] = ()
    truncated: tuple[int, ...] = ()
    error: ServiceError | None = None


class OutputSink(Protocol):
    """Writes ranked groups, in order."""

    def put(self, ranked: RankedGroup) -> None:
        """Write one group."""
        ...


class Tables:
    """Writes a table per query to the terminal, and hides the progress bar meanwhile."""

    def __init__(self, bar: Bar) -> None:
        self._console = Console(highlight=False)
        self._bar = bar

    def put(self, ranked: RankedGroup) -> None:
        """Show one group."""
        with self._bar.aside():
            if ranked.error is not None:
                self._console.print(
                    Text.assemble((_shown(ranked.group.query), "bold"), f"\nnot ranked: {ranked.error.message}")
                )
            else:
                self._console.print(table(ranked))


def table(ranked: RankedGroup) -> Table:
    """Return the ranking as a table with a bar for every score."""
    title = Text(_shown(ranked.group.query), style="bold")
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, expand=True)
    shown.add_column("index", justify="right", style="dim", no_wrap=True)
    shown.add_column("score", justify="right", no_wrap=True)
    shown.add_column("", width=BAR_WIDTH)
    shown.add_column("document", no_wrap=True, overflow="ellipsis", ratio=1)
    for result in ranked.results:
        width = {"width": BAR_WIDTH, "complete_style": "green", "finished_style": "green"}
        bar = ProgressBar(total=1.0, completed=result.score, **width)  # type: ignore[arg-type]
        shown.add_row(str(result.index), f"{result.score:.3f}", bar, Text(_shown(result.text or "")))
    return shown


def _shown(text: str) -> str:
    return CONTROL.sub(" ", text).strip()


class Results:
    """Writes one JSON line per document, most relevant first."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def put(self, ranked: RankedGroup) -> None:
        """Write one group's results."""
        self._file.writelines(_line(_entry(result)) for result in ranked.results)
        self._file.flush()


class Groups:
    """Writes one JSON line per group."""

    def __init__(self, file: BinaryIO, digest: Digest) -> None:
        self._file = file
        self._digest = digest

    def put(self, ranked: RankedGroup) -> None:
        """Write one group as a complete line."""
        self._file.write(_line(self._record(ranked)))
        self._file.flush()

    def _record(self, ranked: RankedGroup) -> Mapping[str, object]:
        group = ranked.group
        failed = [{"index": each.index, "message": each.message} for each in ranked.failed]
        record: dict[str, object] = {
            "group": group.position,
            "id": group.id,
            "query": group.query,
            "model": ranked.model,
            "results": [_entry(each) for each in ranked.results] if ranked.error is None else None,
            "error": None if ranked.error is None else ranked.error.message,
            "truncated_documents": list(ranked.truncated) or None,
            "failed_documents": failed or None,
            "digest": self._digest.of(group),
        }
        return {name: value for name, value in record.items() if value is not None}


def _entry(result: RankedText) -> Mapping[str, object]:
    return {"index": result.index, "relevance_score": result.score, "text": result.text}


def _line(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def to_output() -> BinaryIO:
    """Return standard output as a binary file."""
    return sys.stdout.buffer


def is_on_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout.isatty()
