"""A report in words, cell by cell: what the terminal and the documents show alike. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shortlist.bench.machine import Machine
from shortlist.bench.many import SHARE
from shortlist.bench.report import OURS, Entry, Report, Row, Spread

CONTENDERS: Final = ("contender", "what", "dtype", "memory", "RMS", "largest", "tau")
LOADS: Final = ("contender", "seconds", "from–to", "ratio", "from–to", "tokens/s", "floor")
MANY: Final = ("contender", "at once", "documents/s", "from–to", "ratio", f"p99 at {SHARE:.0%}")
WORDS: Final = frozenset({"contender", "what", "dtype"})
"""Columns that are read as words; the others are numbers, and stand right."""

NOTHING: Final = "-"

_GIB: Final = 1024**3
_ON_GPU: Final = " + what it took of the GPU's, by how much more of that was taken after it was asked than before"


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


def machine_line(machine: Machine) -> str:
    """Return where it ran, in one line."""
    memory = f"{machine.memory_bytes / _GIB:.0f} GiB, " if machine.memory_bytes else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    gpu = f"{machine.gpu}, " if machine.gpu else ""
    hardware = f"{gpu}{machine.cpu}, {machine.num_cores} cores, {memory}{machine.system}"
    return f"{hardware}, Python {machine.python}, {versions}, {machine.date}"


def notes(report: Report) -> Iterator[str]:
    """Yield what the columns mean, for this run."""
    count = max((len(rounds) for rounds in report.rounds.values()), default=0)
    yield (
        f"Scores: difference in log-odds to {report.reference} over {report.num_checked} documents, English and Chinese, "
        "and Kendall's tau of the order."
    )
    yield (
        f"Speed: the median over rounds, {count} here; in each, all answer the same new request, in an order drawn anew. "
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


def _memory(entry: Entry) -> str:
    parts = [f"{num_bytes / _GIB:.2f}" for num_bytes in (entry.peak_bytes, entry.gpu_bytes) if num_bytes]
    return f"{' + '.join(parts)} GiB" if parts else NOTHING


def _agreement(report: Report, entry: Entry) -> tuple[str, str, str]:
    if entry.name == report.reference:
        return ("reference", "", "")
    agreement = entry.agreement
    assert agreement is not None, "Asked for those that have one. This is a bug."
    return (f"{agreement.rms:.3f}", f"{agreement.most:.3f}", f"{agreement.kendall_tau:.3f}")


def _load_row(row: Row) -> tuple[str, ...]:
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


def short(number: float) -> str:
    """Return a number in about the three digits that matter, all of those before the point among them."""
    if not number:
        return "0"
    steps = ((99.95, 0), (9.995, 1), (0.9995, 2), (0.09995, 3))
    return f"{number:.{next((digits for least, digits in steps if number >= least), 4)}f}"
