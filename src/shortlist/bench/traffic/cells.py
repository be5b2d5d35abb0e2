"""A load report in words, cell by cell: what the terminal, the documents and the page show alike. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from shortlist.bench.stats import Spread
from shortlist.bench.tables import NOTHING, short
from shortlist.bench.traffic.result import LoadReport, Row
from shortlist.bench.traffic.schedule import Loop
from shortlist.bench.traffic.tally import Fate

WORDS: Final = frozenset({"load", "contender"})
"""Columns that are read as words; the others are numbers, and stand right."""

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
"""What fates other than the good one are called at the head of a column."""

MAX_REASONS: Final = 3
_MILLI: Final = 1000


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: what stands at its head, and in the row of a server at a level."""

    head: str
    cell: Callable[[Row], str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def sheets(report: LoadReport) -> list[Sheet]:
    """Return the tables of a report: how fast, and what became of all requests."""
    rows = report.rows()
    return [_sheet("Speed", _speed(report), rows), _sheet("Requests", _fates(report, rows), rows)]


def notes(report: LoadReport) -> Iterator[str]:
    """Yield what the columns mean, for this run."""
    plan = report.plan
    seen = f"{plan.seen_share:.0%} of them asked before" if plan.seen_share else "all of them new"
    yield (
        f"A request has {plan.num_documents} documents of {plan.num_words} words, {seen}. QPS: rankings a second that came "
        f"within the {plan.duration_s:g} s that are measured; refusals are not speed. p50, p95, p99: seconds of those due then."
    )
    loops = {level.loop for level in plan.levels}
    if Loop.CLOSED in loops:
        yield "Users wait for an answer before they ask again, and after a refusal for as long as they were told."
    if Loop.OPEN in loops:
        yield "At a rate, requests arrive on a schedule of their own; their time runs from when they were due."
    if len(plan.levels) > 1:
        yield "Of first: the speed over that of the same server at the first level."
    if len(plan.targets) > 1:
        order = "one at a time, in an order drawn anew at every level"
        yield f"All servers are up, and asked {order}. Ratio: the speed over that of {report.reference} at the same level."
    if plan.num_checked:
        yield (
            f"Checked: documents of answers under load, asked again alone; unequal: those more than {plan.tolerance:g} apart."
        )
    if report.was_stopped:
        yield "The run was stopped before its end; this is what was measured until then."


def warnings(report: LoadReport) -> Iterator[str]:
    """Yield what was wrong: servers' words about requests that failed, and figures that may be the generator's own."""
    for row in report.rows():
        for why, count in sorted(row.reasons.items(), key=lambda pair: -pair[1])[:MAX_REASONS]:
            yield f"{row.level.name}, {row.name}: {count} × {why}"
        if row.check.num_unanswered:
            yield f"{row.level.name}, {row.name}: {row.check.num_unanswered} documents asked again alone were not answered"
        if row.generator.is_limit:
            yield (
                f"{row.level.name}, {row.name}: the load generator itself was busy ({row.generator.cpu_share:.0%} of a core) "
                f"or late ({row.generator.lag_p99_s * _MILLI:.0f} ms); these figures may be its own."
            )


def generator_line(report: LoadReport) -> str:
    """Return how hard it was to ask, at worst, in one line."""
    worst = [visit.generator for visit in report.visits]
    cpu_share = max((each.cpu_share for each in worst), default=0.0)
    lag_s = max((each.lag_p99_s for each in worst), default=0.0)
    return f"Load generator: at most {cpu_share:.0%} of a core, 99 % of its turns within {lag_s * _MILLI:.1f} ms of their time."


def _speed(report: LoadReport) -> Iterator[Column]:
    yield from _who(report)
    yield Column("QPS", lambda row: short(row.qps.median))
    yield Column("docs/s", lambda row: short(row.documents_per_s.median))
    within_s = report.plan.within_s
    if within_s is not None:
        yield Column(f"≤{within_s:g} s", lambda row: _median(row.in_time_per_s))
    yield Column("p50", lambda row: _seconds(row.p50_s))
    yield Column("p95", lambda row: _seconds(row.p95_s))
    yield Column("p99", lambda row: _seconds(row.p99_s))
    if len(report.plan.levels) > 1:
        yield Column("of first", lambda row: _median(row.of_first))
    if len(report.plan.targets) > 1:
        yield Column("ratio", lambda row: _median(row.ratio))
        if report.plan.repeats > 1:
            yield Column("from–to", lambda row: _range(row.ratio))


def _fates(report: LoadReport, rows: Sequence[Row]) -> Iterator[Column]:
    """Yield the columns of what became of requests; a fate that none had needs none."""
    yield from _who(report)
    yield Column("sent", lambda row: f"{row.num_sent:,}")
    yield Column("ok", _count_of(Fate.OK))
    for fate, head in NAMES.items():
        if any(row.fates.get(fate) for row in rows):
            yield Column(head, _count_of(fate))
        if fate is Fate.REFUSED and any(row.fates.get(fate) for row in rows):
            yield Column("told when", lambda row: f"{row.num_told:,}")
            yield Column("429 p99", lambda row: _seconds(row.refused_p99_s))
    if report.plan.num_checked:
        yield Column("checked", lambda row: f"{row.check.num_checked:,}")
        yield Column("unequal", lambda row: f"{row.check.num_wrong:,}")
        yield Column("most apart", lambda row: f"{row.check.largest:.0e}" if row.check.largest else "0")


def _who(report: LoadReport) -> Iterator[Column]:
    yield Column("load", lambda row: row.level.name)
    if len(report.plan.targets) > 1:
        yield Column("contender", lambda row: row.name)


def _sheet(title: str, columns: Iterator[Column], rows: Sequence[Row]) -> Sheet:
    wanted = list(columns)
    return Sheet(title, [column.head for column in wanted], [[column.cell(row) for column in wanted] for row in rows])


def _count_of(fate: Fate) -> Callable[[Row], str]:
    return lambda row: f"{row.fates.get(fate, 0):,}"


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else short(value)


def _median(spread: Spread | None) -> str:
    return NOTHING if spread is None else short(spread.median)


def _range(spread: Spread | None) -> str:
    return NOTHING if spread is None else f"{short(spread.least)}–{short(spread.most)}"
