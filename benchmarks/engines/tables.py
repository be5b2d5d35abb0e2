"""A report as tables, for the terminal and for a document: contenders, how right they are, and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from benchmarks.engines.report import Report, ReportEntry, SpeedRow
from benchmarks.engines.saturation import SHARE
from shortlist.bench import markdown
from shortlist.bench.stats import Spread
from shortlist.bench.tables import NOTHING, OURS, grid, machine_line, short

CONTENDERS: Final = ("contender", "what", "dtype", "memory", "RMS", "largest", "tau")
LOADS: Final = ("contender", "seconds", "from–to", "ratio", "from–to", "tokens/s", "floor")
MANY: Final = ("contender", "at once", "documents/s", "from–to", "ratio", f"p99 at {SHARE:.0%}")
WORDS: Final = frozenset({"contender", "what", "dtype"})
"""Columns that are read as words; the others are numbers, and stand right."""

PICTURE_WORDS: Final = "Seconds per request of every contender, one panel per load"
_GIB: Final = 1024**3
_ON_GPU: Final = " + what it took of the GPU's, by how much more of that was taken after it was asked than before"


def parts(report: Report) -> Iterator[RenderableType]:
    """Yield the parts of the page in the terminal, top to bottom."""
    yield Text(machine_line(report.machine), style="dim")
    yield grid("Contenders", *_without_what(CONTENDERS, list(contender_rows(report))), words=WORDS)
    for name, what, *_ in contender_rows(report):
        yield Text(f"{name}: {what}", style="dim")
    for load in report.rounds:
        yield grid(load, LOADS, list(load_rows(report, load)), words=WORDS)
        if report.many:
            yield grid(f"{load}, many at once", MANY, list(many_rows(report, load)), words=WORDS)
    yield Text()
    for note in notes(report):
        yield Text(note, style="dim")
    for why in left_out(report):
        yield Text.assemble(("left out: ", "yellow"), why)


def block(report: Report, path: Path, picture: str | None = None) -> str:
    """Return the report as Markdown, markers included; with a picture, if there is one at this address."""
    return markdown.enclosed([*markdown.shown(picture, PICTURE_WORDS), *_lines(report)], path)


def write_block(report: Report, path: Path, picture: Path | None = None) -> None:
    """Put the report between the markers of a document, or write a new one that is nothing else.

    Args:
        report: What to show.
        path: The document; with #name, the place of that name in it.
        picture: A chart of the same report, to be shown above the tables.

    Raises:
        BadSetting: there is a document, but no markers in it.
    """
    markdown.put(block(report, path, markdown.address(picture, path)), path)


def contender_rows(report: Report) -> Iterator[tuple[str, ...]]:
    """Yield what every contender is, and how its scores compare; the columns are `CONTENDERS`."""
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
    """Yield how fast every ranked contender was, fastest first; the columns are `LOADS`."""
    for row in report.rows(load):
        yield _load_row(row)


def many_rows(report: Report, load: str) -> Iterator[tuple[str, ...]]:
    """Yield what came of many requests at once, most documents a second first; the columns are `MANY`."""
    everyone = {name: (each, Spread.of(each.documents_per_s)) for name, each in report.many.get(load, {}).items()}
    ours = everyone.get(OURS)
    for name, (each, rates) in sorted(everyone.items(), key=lambda one: -one[1][1].median):
        yield (
            name,
            str(each.at_once),
            short(rates.median),
            _range(rates),
            short(ours[1].median / rates.median) if ours else NOTHING,
            f"{short(each.p99_s)} s" if each.p99_s is not None else NOTHING,
        )


def left_out(report: Report) -> Iterator[str]:
    """Yield why contenders are not ranked, one sentence each."""
    for entry in report.entries:
        if entry.why_not:
            yield entry.why_not


def notes(report: Report) -> Iterator[str]:
    """Yield what the columns mean, for this run."""
    count = max((len(rounds) for rounds in report.rounds.values()), default=0)
    yield (
        f"Scores: difference in log-odds to {report.reference} over {report.num_checked} documents, English and Chinese, "
        "and Kendall's tau of the order."
    )
    yield (
        f"Speed: the median over rounds, {count} here; in each, all answer the same new request, in a new random order. "
        "The ratio is that within a round, ours = 1."
    )
    yield (
        "Tokens: those a request needs read, its shared beginning once. Memory: the sum of the peaks of all its processes"
        f"{_ON_GPU if report.machine.gpu else ''}."
    )
    if report.many:
        yield (
            "At once: as many requests under way as a contender likes; the ratio is that of the medians, ours = 1. p99: when "
            f"requests arrive at random, {SHARE:.0%} of as many as it answered, 99 of 100 answers came within this time."
        )
    if report.floor is not None:
        yield (
            "Floor: the share of our time that the arithmetic alone would take at "
            f"{report.floor.flops_per_s / 1e9:,.0f} GFLOP/s, the rate of this machine's matrix products on this model's "
            "shapes, measured before and after."
        )


def _lines(report: Report) -> Iterator[str]:
    yield ""
    yield f"Machine: {machine_line(report.machine)}."
    yield from markdown.table(CONTENDERS, list(contender_rows(report)), words=WORDS)
    for load in report.rounds:
        yield ""
        yield f"### {load}"
        yield from markdown.table(LOADS, list(load_rows(report, load)), words=WORDS)
        if report.many:
            yield from markdown.table(MANY, list(many_rows(report, load)), words=WORDS)
    yield ""
    for note in (*notes(report), *(f"Left out: {why}." for why in left_out(report))):
        yield f"- {markdown.plain(note)}"


def _without_what(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Leave out a column that is too wide for a terminal; it is said below the table."""
    place = columns.index("what")
    return [*columns[:place], *columns[place + 1 :]], [[*row[:place], *row[place + 1 :]] for row in rows]


def _memory(entry: ReportEntry) -> str:
    parts = [f"{num_bytes / _GIB:.2f}" for num_bytes in (entry.peak_bytes, entry.gpu_bytes) if num_bytes]
    return f"{' + '.join(parts)} GiB" if parts else NOTHING


def _agreement(report: Report, entry: ReportEntry) -> tuple[str, str, str]:
    if entry.name == report.reference:
        return ("reference", "", "")
    agreement = entry.agreement
    assert agreement is not None, "Asked for those that have one. This is a bug."
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
