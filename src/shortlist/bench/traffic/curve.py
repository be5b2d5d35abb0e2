"""What there is to draw: curves over the load, and scales to draw them on. Pure, and the same for every kind of picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from shortlist.bench.stats import Spread
from shortlist.bench.traffic.result import LoadReport, Row
from shortlist.bench.traffic.schedule import Level, Loop

TITLES: Final = {Loop.CLOSED: "Users at once", Loop.OPEN: "Arrivals a second"}
STEPS: Final = (1, 2, 2.5, 5, 10)
"""What ticks may be multiples of, times a power of ten."""

NUM_TICKS: Final = 5
COLOURS: Final = ("#d9480f", "#1971c2", "#2b8a3e", "#862e9c", "#0b7285", "#5c3c10")
"""Of curves on white, the first server's first."""

FEW_DECADES: Final = 2
"""Scales of no more than these have marks within a decade."""

Point = Spread
"""A value, with the least and the most of what it is the median of."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One server over the load; None where it has no value."""

    name: str
    points: Sequence[Point | None]

    def known(self) -> Iterator[tuple[int, Point]]:
        """Yield the points there are, with their places."""
        return ((place, point) for place, point in enumerate(self.points) if point is not None)


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values lie between bottom (0) and top (1), and which of them are marked."""

    low: float
    high: float
    is_log: bool
    ticks: Sequence[float]

    def at(self, value: float) -> float:
        """Return where a value lies; what lies beyond an end is put there."""
        if self.is_log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class End:
    """Where a curve ends: which one it is, and its last value."""

    number: int
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves on one scale."""

    title: str
    curves: Sequence[Curve]
    scale: Scale
    bound: float | None = None

    def ends(self) -> list[End]:
        """Return where the curves end that have a point at all, from the bottom to the top."""
        known = [(number, curve.name, list(curve.known())) for number, curve in enumerate(self.curves)]
        ends = [End(number, name, points[-1][1].median) for number, name, points in known if points]
        return sorted(ends, key=lambda end: end.value)


@dataclass(frozen=True, slots=True)
class Figure:
    """Speed over latency, for all levels of one kind."""

    title: str
    loads: Sequence[str]
    speed: Panel
    latency: Panel


def figures(report: LoadReport) -> list[Figure]:
    """Return a figure for users and one for rates, if there were such levels."""
    rows = report.rows()
    kinds = [loop for loop in Loop if any(row.level.loop is loop for row in rows)]
    return [_figure(report, loop, [row for row in rows if row.level.loop is loop]) for loop in kinds]


def linear(most: float) -> Scale:
    """Return a scale from 0 that has room for this much."""
    most = most if most > 0 else 1.0
    magnitude = 10.0 ** math.floor(math.log10(most / NUM_TICKS))
    step = magnitude * next(each for each in STEPS if each * magnitude * NUM_TICKS >= most * (1 - 1e-9))
    count = math.ceil(most / step - 1e-9)
    return Scale(0.0, step * count, is_log=False, ticks=[step * number for number in range(count + 1)])


def logarithmic(least: float, most: float) -> Scale:
    """Return a scale of whole decades that has room for values from this much to that, both above 0."""
    low = math.floor(math.log10(least))
    high = max(math.ceil(math.log10(most)), low + 1)
    marks = (1, 2, 5) if high - low <= FEW_DECADES else (1,)
    ticks = [mark * 10.0**power for power in range(low, high) for mark in marks]
    return Scale(10.0**low, 10.0**high, is_log=True, ticks=[*ticks, 10.0**high])


def apart(ascending: Sequence[float], least: float) -> list[float]:
    """Return places in the same order, moved so that neighbours are at least this far from each other.

    They are pushed on one after the other, and all of them back by half of how far the last one went.
    """
    moved: list[float] = []
    for place in ascending:
        moved.append(max(place, moved[-1] + least) if moved else place)
    back = (moved[-1] - ascending[-1]) / 2 if moved else 0.0
    return [place - back for place in moved]


def _figure(report: LoadReport, loop: Loop, rows: Sequence[Row]) -> Figure:
    levels = list(dict.fromkeys(row.level for row in rows))
    names = [target.name for target in report.plan.targets]
    speed = [Curve(name, [_speed(_find(rows, name, level)) for level in levels]) for name in names]
    latency = [Curve(name, [_latency(_find(rows, name, level)) for level in levels]) for name in names]
    bound = report.plan.within_s
    seconds = [value for value in _values(latency) if value > 0] + ([bound] if bound else [])
    scale = logarithmic(min(seconds, default=0.1), max(seconds, default=1.0))
    return Figure(
        title=TITLES[loop],
        loads=[f"{level.amount:g}" for level in levels],
        speed=Panel("Documents a second", speed, linear(max(_values(speed), default=0.0))),
        latency=Panel("99 % answered within, seconds", latency, scale, bound),
    )


def _find(rows: Sequence[Row], name: str, level: Level) -> Row | None:
    return next((row for row in rows if row.name == name and row.level == level), None)


def _speed(row: Row | None) -> Point | None:
    return row.documents_per_s if row else None


def _latency(row: Row | None) -> Point | None:
    return Spread.of([row.p99_s]) if row and row.p99_s is not None else None


def _values(curves: Sequence[Curve]) -> list[float]:
    return [value for curve in curves for _, point in curve.known() for value in (point.least, point.most)]
