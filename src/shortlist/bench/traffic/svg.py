"""Curves as SVG, to stand inside a page: colours are the page's, so that they follow its light or dark. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from shortlist.bench.tables import short
from shortlist.bench.traffic.curve import COLOURS, Curve, Figure, Panel, apart

WIDTH: Final = 760
LEFT: Final = 56
RIGHT: Final = 150
"""Room for the names at the ends of the curves."""

INSET: Final = 28
"""Between the sides and the first and last load."""

TOP: Final = 34
"""Room for a panel's title."""

GAP: Final = 54
SPEED_HEIGHT: Final = 220
LATENCY_HEIGHT: Final = 130
BOTTOM: Final = 48
LABEL: Final = 16
"""Between the names of two curves that end near each other."""


def drawn(figure: Figure) -> str:
    """Return the figure as an SVG element."""
    speed = Frame(figure.speed, figure.loads, TOP, SPEED_HEIGHT)
    latency = Frame(figure.latency, figure.loads, TOP + SPEED_HEIGHT + GAP, LATENCY_HEIGHT)
    words = f"{figure.speed.title}, and {figure.latency.title}, over {figure.title.lower()}"
    lines = [
        f'<svg viewBox="0 0 {WIDTH} {latency.bottom + BOTTOM}" role="img" aria-label="{escape(words)}">',
        *speed.lines(),
        *latency.lines(),
        *_loads(figure, latency),
        "</svg>",
    ]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Frame:
    """A panel in its place. Units: those of the drawing, from its upper left corner."""

    panel: Panel
    loads: Sequence[str]
    top: int
    height: int

    @property
    def bottom(self) -> int:
        """Where it ends."""
        return self.top + self.height

    def x(self, place: int) -> float:
        """Return where a load lies."""
        first, last = LEFT + INSET, WIDTH - RIGHT - INSET
        count = len(self.loads)
        return (first + last) / 2 if count == 1 else first + (last - first) * place / (count - 1)

    def y(self, value: float) -> float:
        """Return where a value lies."""
        return self.bottom - self.height * self.panel.scale.at(value)

    def lines(self) -> Iterator[str]:
        """Yield the elements of the panel, those in front last."""
        yield f'<text class="title" x="{LEFT}" y="{self.top - 14}">{escape(self.panel.title)}</text>'
        for tick in self.panel.scale.ticks:
            yield self._across("grid", tick)
            yield f'<text class="tick" x="{LEFT - 8}" y="{self.y(tick) + 4:.1f}" text-anchor="end">{tick:,g}</text>'
        if self.panel.bound is not None:
            yield self._across("bound", self.panel.bound)
            y = self.y(self.panel.bound) - 5
            yield f'<text class="tick" x="{LEFT + 4}" y="{y:.1f}">in time: {self.panel.bound:g} s</text>'
        for number, curve in reversed(list(enumerate(self.panel.curves))):  # the first one in front
            yield f'<g class="curve c{number % len(COLOURS)}">'
            yield from self._curve(curve)
            yield "</g>"
        yield from self._names()

    def _across(self, kind: str, value: float) -> str:
        y = self.y(value)
        return f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'

    def _curve(self, curve: Curve) -> Iterator[str]:
        for (place, point), (next_place, next_point) in pairwise(curve.known()):
            if next_place == place + 1:  # over a load that has no value there is no line
                yield _line(self.x(place), self.y(point.median), self.x(next_place), self.y(next_point.median))
        for place, point in curve.known():
            x = self.x(place)
            if point.least < point.most:
                yield _line(x, self.y(point.least), x, self.y(point.most), kind="range")
            words = escape(f"{curve.name}, {self.loads[place]}: {short(point.median)}")
            yield f'<circle cx="{x:.1f}" cy="{self.y(point.median):.1f}" r="4"><title>{words}</title></circle>'

    def _names(self) -> Iterator[str]:
        """Yield the names at the ends of the curves, moved apart where curves end near each other."""
        downwards = self.panel.ends()[::-1]
        for y, end in zip(apart([self.y(end.value) for end in downwards], LABEL), downwards, strict=True):
            words = f'{escape(end.name)} <tspan class="value">{short(end.value)}</tspan>'
            yield f'<text class="name t{end.number % len(COLOURS)}" x="{WIDTH - RIGHT + 10}" y="{y + 4:.1f}">{words}</text>'


def _loads(figure: Figure, frame: Frame) -> Iterator[str]:
    for place, load in enumerate(figure.loads):
        yield f'<text class="tick" x="{frame.x(place):.1f}" y="{frame.bottom + 18}" text-anchor="middle">{escape(load)}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text class="axis" x="{middle:.1f}" y="{frame.bottom + 40}" text-anchor="middle">{escape(figure.title)}</text>'


def _line(x: float, y: float, next_x: float, next_y: float, *, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<line{marked} x1="{x:.1f}" y1="{y:.1f}" x2="{next_x:.1f}" y2="{next_y:.1f}"/>'
