"""The tables of a load report, for terminal and Markdown, and helpers for the tables of all benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from shortlist.bench import markdown
from shortlist.bench.machine import Machine
from shortlist.bench.plan import Loop
from shortlist.bench.report import LoadReport, Row, worst
from shortlist.bench.samples import Fate
from shortlist.bench.stats import Spread

OURS: Final = markdown.OURS
NOTHING: Final = "-"
WORDS: Final = frozenset({"load", "contender"})
"""Text columns; all others are numbers and right-aligned."""

NAMES: Final = {
    Fate.REFUSED: "429",
    Fate.TIMED_OUT: "504",
    Fate.REJECTED: "4xx",
    Fate.FAILED: "5xx",
    Fate.CUT: "cut",
    Fate.LOST: "lost",
    Fate.WRONG: "unread",
    Fate.UNSENT: "unsent",
}
"""Column titles of the fates other than OK."""

PICTURE_WORDS: Final = "Documents a second, and seconds within which 99 % of the answers came, over the load"
MAX_REASONS: Final = 3
_MILLI: Final = 1000
_GIB: Final = 1024**3


# -- shared by all benchmarks --


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str]) -> Table:
    """Return a table for the terminal; text columns are left-aligned, and Shortlist's own row is bold."""
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        # In a narrow terminal only names wrap: a wrapped number would read as another number.
        is_word = name in words
        table.add_column(name, justify="left" if is_word else "right", no_wrap=not is_word, overflow="fold", header_style="dim")
    for row in rows:
        named = (cell for name, cell in zip(columns, row, strict=True) if name in words)
        table.add_row(*map(Text, row), style="green" if OURS in named else None)
    return table


def machine_line(machine: Machine) -> str:
    """Return the machine description in one line."""
    memory = f"{machine.memory_bytes / _GIB:.0f} GiB, " if machine.memory_bytes else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    gpu = f"{machine.gpu}, " if machine.gpu else ""
    hardware = f"{gpu}{machine.cpu}, {machine.num_cores} cores, {memory}{machine.system}"
    return f"{hardware}, Python {machine.python}, {versions}, {machine.date}"


def short(number: float) -> str:
    """Format a number with about three significant digits and all digits before the point."""
    if not number:
        return "0"
    steps = ((99.95, 0), (9.995, 1), (0.9995, 2), (0.09995, 3))
    return f"{number:.{next((digits for least, digits in steps if number >= least), 4)}f}"


# -- a load report --


Column = tuple[str, Callable[[Row], str]]
"""A column title, and the function that formats its cell for a row."""


class TerminalTable(NamedTuple):
    """Title, columns and rows of a table."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def parts(report: LoadReport) -> Iterator[RenderableType]:
    """Yield the parts of the terminal report, top to bottom."""
    yield Text(machine_line(report.machine), style="dim")
    for target in report.plan.targets:
        yield Text(f"{target.name}: {target.url}", style="dim")
    for sheet in terminal_tables(report):
        yield grid(sheet.title, sheet.heads, sheet.rows, words=WORDS)
    yield Text()
    for note in notes(report):
        yield Text(note, style="dim")
    for warning in warnings(report):
        yield Text(warning, style="yellow")


def write_block(report: LoadReport, path: Path, picture: Path | None = None) -> None:
    """Put the report between the markers of a document, or create a document that holds only the report.

    Raises:
        BadSetting: there is a document, but no markers in it.
    """
    lines = [*markdown.shown(markdown.address(picture, path), PICTURE_WORDS), "", f"Machine: {machine_line(report.machine)}."]
    for sheet in terminal_tables(report):
        lines += markdown.table(sheet.heads, sheet.rows, words=WORDS)
    lines += ["", *(f"- {markdown.plain(note)}" for note in (*notes(report), *warnings(report)))]
    markdown.put(markdown.enclosed(lines, path), path)


def terminal_tables(report: LoadReport) -> list[TerminalTable]:
    """Return the tables of a report: speed, and outcomes of all requests."""
    rows = report.rows()
    tables = {"Speed": list(_speed(report)), "Requests": list(_fates(report, rows))}
    return [
        TerminalTable(title, [head for head, _ in columns], [[cell(row) for _, cell in columns] for row in rows])
        for title, columns in tables.items()
    ]


def notes(report: LoadReport) -> Iterator[str]:
    """Yield the legend of the columns and the load generator's utilization."""
    plan = report.plan
    seen = f"{plan.seen_share:.0%} of them asked before" if plan.seen_share else "all of them new"
    yield (
        f"A request has {plan.num_documents} documents of {plan.num_words} words, {seen}. QPS: rankings a second that came "
        f"within the {plan.duration_s:g} s that are measured; refusals are not speed. p50, p95, p99: seconds of those due then."
    )
    loops = {level.loop for level in plan.levels}
    if Loop.CLOSED in loops:
        yield "Each user waits for an answer before the next request, and for Retry-After after a refusal."
    if Loop.OPEN in loops:
        yield "At a rate, requests arrive on a schedule of their own; their time runs from when they were due."
    if len(plan.levels) > 1:
        yield "Of first: the speed over that of the same server at the first level."
    if len(plan.targets) > 1:
        order = "one at a time, in a new random order at every level"
        yield f"All servers are up, and asked {order}. Ratio: the speed over that of {report.reference} at the same level."
    if plan.num_checked:
        yield (
            f"Checked: documents of answers under load, asked again alone; unequal: those more than {plan.tolerance:g} apart."
        )
    if report.was_stopped:
        yield "The run was stopped before its end; this is what was measured until then."
    busy = worst([level_run.generator for level_run in report.level_runs])
    lag_ms = busy.lag_p99_s * _MILLI
    yield f"Load generator: at most {busy.cpu_share:.0%} of a core, 99 % of its turns within {lag_ms:.1f} ms of their time."


def warnings(report: LoadReport) -> Iterator[str]:
    """Yield warnings: error messages of failed requests, and figures that the load generator may limit."""
    for row in report.rows():
        where = f"{row.level.name}, {row.name}"
        for why, count in sorted(row.reasons.items(), key=lambda pair: -pair[1])[:MAX_REASONS]:
            yield f"{where}: {count} × {why}"
        if row.check.num_unanswered:
            yield f"{where}: {row.check.num_unanswered} documents asked again alone were not answered"
        if row.generator.is_limit:
            yield (
                f"{where}: the load generator itself was busy ({row.generator.cpu_share:.0%} of a core) "
                f"or late ({row.generator.lag_p99_s * _MILLI:.0f} ms); these figures may be its own."
            )


def _speed(report: LoadReport) -> Iterator[Column]:
    yield from _who(report)
    yield "QPS", lambda row: short(row.qps.median)
    yield "docs/s", lambda row: short(row.documents_per_s.median)
    within_s = report.plan.within_s
    if within_s is not None:
        yield f"≤{within_s:g} s", lambda row: _median(row.in_time_per_s)
    yield "p50", lambda row: _seconds(row.p50_s)
    yield "p95", lambda row: _seconds(row.p95_s)
    yield "p99", lambda row: _seconds(row.p99_s)
    if len(report.plan.levels) > 1:
        yield "of first", lambda row: _median(row.of_first)
    if len(report.plan.targets) > 1:
        yield "ratio", lambda row: _median(row.ratio)
        if report.plan.repeats > 1:
            yield "from–to", lambda row: f"{short(row.ratio.least)}–{short(row.ratio.most)}" if row.ratio else NOTHING


def _fates(report: LoadReport, rows: Sequence[Row]) -> Iterator[Column]:
    """Yield the outcome columns; a fate without requests has no column."""
    yield from _who(report)
    yield "sent", lambda row: f"{row.num_sent:,}"
    yield "ok", _count_of(Fate.OK)
    for fate, head in NAMES.items():
        if any(row.fates.get(fate) for row in rows):
            yield head, _count_of(fate)
            if fate is Fate.REFUSED:
                yield "with Retry-After", lambda row: f"{row.num_told:,}"
                yield "429 p99", lambda row: _seconds(row.refused_p99_s)
    if report.plan.num_checked:
        yield "checked", lambda row: f"{row.check.num_checked:,}"
        yield "unequal", lambda row: f"{row.check.num_wrong:,}"
        yield "most apart", lambda row: f"{row.check.largest:.0e}" if row.check.largest else "0"


def _who(report: LoadReport) -> Iterator[Column]:
    yield "load", lambda row: row.level.name
    if len(report.plan.targets) > 1:
        yield "contender", lambda row: row.name


def _count_of(fate: Fate) -> Callable[[Row], str]:
    return lambda row: f"{row.fates.get(fate, 0):,}"


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else short(value)


def _median(spread: Spread | None) -> str:
    return NOTHING if spread is None else short(spread.median)
