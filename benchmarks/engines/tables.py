"""Formats a report as tables, for the terminal and for a Markdown document: contenders, accuracy and speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from benchmarks.engines.report import Report, ReportEntry, SpeedRow
from benchmarks.engines.saturation import LOAD_SHARE
from shortlist.bench import markdown
from shortlist.bench.stats import Spread
from shortlist.bench.tables import NOTHING, OURS, grid, machine_line, short

CONTENDER_COLUMNS: Final = ("contender", "what", "dtype", "memory", "RMS", "largest", "tau")
LOAD_COLUMNS: Final = ("contender", "seconds", "from–to", "ratio", "from–to", "tokens/s", "floor")
SATURATION_COLUMNS: Final = ("contender", "at once", "documents/s", "from–to", "ratio", f"p99 at {LOAD_SHARE:.0%}")
TEXT_COLUMNS: Final = frozenset({"contender", "what", "dtype"})
"""Text columns; all others are numbers and right-aligned."""

PICTURE_TEXT: Final = "Seconds per request of every contender, one panel per load"
_GIB: Final = 1024**3
_ON_GPU: Final = " + its share of the GPU's memory, by the growth of used memory while the contender ran"


def parts(report: Report) -> Iterator[RenderableType]:
    """Yield the parts of the terminal report, top to bottom."""
    yield Text(machine_line(report.machine), style="dim")
    yield grid("Contenders", *_without_version(CONTENDER_COLUMNS, list(contender_rows(report))), words=TEXT_COLUMNS)
    for name, what, *_ in contender_rows(report):
        yield Text(f"{name}: {what}", style="dim")
    for load in report.rounds:
        yield grid(load, LOAD_COLUMNS, list(load_rows(report, load)), words=TEXT_COLUMNS)
        if report.many:
            yield grid(
                f"{load}, concurrent requests", SATURATION_COLUMNS, list(saturation_rows(report, load)), words=TEXT_COLUMNS
            )
    yield Text()
    for note in notes(report):
        yield Text(note, style="dim")
    for reason in dropped_reasons(report):
        yield Text.assemble(("left out: ", "yellow"), reason)


def block(report: Report, path: Path, picture: str | None = None) -> str:
    """Return the report as Markdown, with its markers, and with the picture at an address, if given."""
    return markdown.enclosed([*markdown.shown(picture, PICTURE_TEXT), *_lines(report)], path)


def write_block(report: Report, path: Path, picture: Path | None = None) -> None:
    """Write the report between the markers of a document, or into a new document.

    Args:
        report: The report.
        path: The document; #name selects the markers of that name.
        picture: A chart of the same report, shown above the tables.

    Raises:
        BadSetting: the document exists, but has no markers.
    """
    markdown.put(block(report, path, markdown.address(picture, path)), path)


def contender_rows(report: Report) -> Iterator[tuple[str, ...]]:
    """Yield the version, the memory and the agreement of every contender; the columns are `CONTENDER_COLUMNS`."""
    for entry in report.entries:
        ready, agreement = entry.ready, entry.agreement
        yield (
            entry.name,
            ready.version if ready else NOTHING,
            ready.dtype if ready else NOTHING,
            _memory(entry),
            *(_agreement(report, entry) if agreement else (NOTHING,) * 3),
        )


def load_rows(report: Report, load: str) -> Iterator[tuple[str, ...]]:
    """Yield the speed of every ranked contender, fastest first; the columns are `LOAD_COLUMNS`."""
    for row in report.rows(load):
        yield _load_row(row)


def saturation_rows(report: Report, load: str) -> Iterator[tuple[str, ...]]:
    """Yield the results of concurrent requests, most documents per second first; the columns are `SATURATION_COLUMNS`."""
    results = {name: (each, Spread.of(each.documents_per_s)) for name, each in report.many.get(load, {}).items()}
    ours = results.get(OURS)
    for name, (each, rates) in sorted(results.items(), key=lambda one: -one[1][1].median):
        yield (
            name,
            str(each.at_once),
            short(rates.median),
            _range(rates),
            short(ours[1].median / rates.median) if ours else NOTHING,
            f"{short(each.p99_s)} s" if each.p99_s is not None else NOTHING,
        )


def dropped_reasons(report: Report) -> Iterator[str]:
    """Yield the reasons for dropped contenders, one sentence each."""
    for entry in report.entries:
        if entry.why_not:
            yield entry.why_not


def notes(report: Report) -> Iterator[str]:
    """Yield explanations of the columns, for this run."""
    count = max((len(rounds) for rounds in report.rounds.values()), default=0)
    yield (
        f"Scores: difference in log-odds to {report.reference} over {report.num_checked} documents, English and Chinese, "
        "and Kendall's tau of the order."
    )
    yield (
        f"Speed: the median over rounds, {count} here. In a round, all contenders answer the same new request, in a new random "
        "order. The ratio is taken within a round, ours = 1."
    )
    yield (
        "Tokens: those of a request, the shared prefix counted once. Memory: the sum of the peaks of all its processes"
        f"{_ON_GPU if report.machine.gpu else ''}."
    )
    if report.many:
        yield (
            "At once: concurrent requests, as the contender prefers; the ratio is that of the medians, ours = 1. p99: with "
            f"random arrivals at {LOAD_SHARE:.0%} of its throughput, 99 of 100 answers came within this time."
        )
    if report.floor is not None:
        yield (
            "Floor: the time of the arithmetic alone, as a share of our time, at "
            f"{report.floor.flops_per_s / 1e9:,.0f} GFLOP/s, the rate of this machine's matrix products on this model's "
            "shapes, measured before and after."
        )


def _lines(report: Report) -> Iterator[str]:
    yield ""
    yield f"Machine: {machine_line(report.machine)}."
    yield from markdown.table(CONTENDER_COLUMNS, list(contender_rows(report)), words=TEXT_COLUMNS)
    for load in report.rounds:
        yield ""
        yield f"### {load}"
        yield from markdown.table(LOAD_COLUMNS, list(load_rows(report, load)), words=TEXT_COLUMNS)
        if report.many:
            yield from markdown.table(SATURATION_COLUMNS, list(saturation_rows(report, load)), words=TEXT_COLUMNS)
    yield ""
    for note in (*notes(report), *(f"Left out: {reason}." for reason in dropped_reasons(report))):
        yield f"- {markdown.plain(note)}"


def _without_version(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Remove a column that is too wide for a terminal; its content is printed below the table."""
    place = columns.index("what")
    return [*columns[:place], *columns[place + 1 :]], [[*row[:place], *row[place + 1 :]] for row in rows]


def _memory(entry: ReportEntry) -> str:
    parts = [f"{num_bytes / _GIB:.2f}" for num_bytes in (entry.peak_bytes, entry.gpu_bytes) if num_bytes]
    return f"{' + '.join(parts)} GiB" if parts else NOTHING


def _agreement(report: Report, entry: ReportEntry) -> tuple[str, str, str]:
    if entry.name == report.reference:
        return ("reference", "", "")
    agreement = entry.agreement
    assert agreement is not None, "The entry has an agreement. This is a bug."
    return (f"{agreement.rms:.3f}", f"{agreement.most:.3f}", f"{agreement.kendall_tau:.3f}")


def _load_row(row: SpeedRow) -> tuple[str, ...]:
    return (
        row.name,
        short(row.seconds.median),
        _range(row.seconds),
        short(row.ratio.median) if row.ratio else NOTHING,
        _range(row.ratio) if row.ratio else NOTHING,
        f"{row.tokens_per_s:,.0f}",
        f"{row.floor_share:.0%}" if row.floor_share else NOTHING,
    )


def _range(spread: Spread) -> str:
    return f"{short(spread.least)}–{short(spread.most)}"
