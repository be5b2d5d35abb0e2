"""Draws a load report as PNG or SVG: documents per second and latency over load."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shortlist.bench.plan import Level, Loop
from shortlist.bench.report import LoadReport, Row
from shortlist.bench.stats import Spread
from shortlist.bench.tables import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES: Final = {Loop.CLOSED: "Users at once", Loop.OPEN: "Arrivals a second"}
COLOURS: Final = ("#d9480f", "#1971c2", "#2b8a3e", "#862e9c", "#0b7285", "#5c3c10")
"""Curve colours on white; the first server gets the first."""

INK: Final = "#212529"
FAINT: Final = "#868e96"
GRID: Final = "#e9ecef"
LINE: Final[dict[str, Any]] = {"linewidth": 2.2, "elinewidth": 1.2, "marker": "o", "markersize": 5}
WIDTH_IN: Final = 8.0
HEIGHT_IN: Final = 5.6
FEW_DECADES: Final = 100
"""Up to this ratio of its ends, a logarithmic scale has marks within a decade."""

STYLE: Final[dict[Any, Any]] = {
    "axes.autolimit_mode": "round_numbers",  # an axis ends at a tick
    "axes.ymargin": 0,
    "text.parse_math": False,  # a $ in a name is literal
    "svg.fonttype": "none",  # text that can be searched and read aloud
    "svg.hashsalt": "shortlist",  # the same ids every time
}


def loops(report: LoadReport) -> list[Loop]:
    """Return the measured kinds of load: closed loop, open loop, or both."""
    return [loop for loop in Loop if any(level_run.level.loop is loop for level_run in report.level_runs)]


def draw(report: LoadReport, path: Path) -> None:
    """Draw the report into a PNG file, users and rates side by side if there are both."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        made = figure(report, loops(report))
        machine = f"{report.machine.cpu}, {report.machine.num_cores} cores, {report.machine.date}"
        made.suptitle(machine, x=0.01, ha="left", fontsize=9, color=FAINT)
        made.savefig(path, dpi=160)


def svg(report: LoadReport, loop: Loop) -> str:
    """Return the curves over one kind of load as an SVG element, to stand inside a page."""
    import matplotlib as mpl

    output = StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page is shown with the reader's own fonts
        # Without metadata, which would name addresses.
        figure(report, [loop]).savefig(output, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    drawn = output.getvalue()
    return drawn[drawn.index("<svg") :]


def figure(report: LoadReport, kinds: Sequence[Loop]) -> Figure:
    """Return a drawing with a column for each of these kinds of load."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    count = max(len(kinds), 1)
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.1)
    made = Figure(figsize=(WIDTH_IN * count, HEIGHT_IN), layout=layout, facecolor="white")
    grid = made.subplots(2, count, squeeze=False, sharex="col", height_ratios=(5, 3))
    for column, loop in enumerate(kinds):
        rows = [row for row in report.rows() if row.level.loop is loop]
        levels = list(dict.fromkeys(row.level for row in rows))
        speed, latency = grid[0][column], grid[1][column]
        _curves(speed, report, rows, levels, lambda row: row.documents_per_s)
        _curves(latency, report, rows, levels, lambda row: None if row.p99_s is None else Spread.of([row.p99_s]))
        _dress(speed, "Documents a second")
        _dress(latency, "99 % answered within, seconds")
        speed.update_datalim([(0, 0)], updatex=False)  # a scale from 0
        speed.autoscale_view(scalex=False)
        _in_decades(latency, report.plan.within_s, has_values=any(row.p99_s is not None for row in rows))
        latency.set_xticks(range(len(levels)), [f"{level.amount:g}" for level in levels])
        latency.set_xlim(-0.3, len(levels) - 0.7)
        latency.set_xlabel(TITLES[loop], fontsize=9, color=INK)
    return made


def _curves(
    axes: Axes, report: LoadReport, rows: Sequence[Row], levels: Sequence[Level], value: Callable[[Row], Spread | None]
) -> None:
    """Draw a curve for each server, and name them beside the drawing, in the order in which they end."""
    nan = float("nan")  # a gap in the line
    ends = []
    for number, target in reversed(list(enumerate(report.plan.targets))):  # the first one in front
        found = {row.level: value(row) for row in rows if row.name == target.name}
        spreads = [found.get(level) or Spread(nan, nan, nan) for level in levels]
        middle = [each.median for each in spreads]
        reach = [[each.median - each.least for each in spreads], [each.most - each.median for each in spreads]]
        colour = COLOURS[number % len(COLOURS)]
        curve = axes.errorbar(range(len(levels)), middle, yerr=reach, color=colour, clip_on=False, **LINE)
        if known := [each for each in middle if each == each]:  # noqa: PLR0124 - not nan
            ends.append((known[-1], f"{target.name}  {short(known[-1])}", curve.lines[0]))
    ends.sort(key=lambda end: -end[0])
    axes.legend(
        [curve for *_, curve in ends],
        [words for _, words, _ in ends],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        labelcolor="linecolor",
        frameon=False,
        fontsize=9,
        handlelength=1.0,
    )


def _dress(axes: Axes, title: str) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.tick_params(length=0, labelsize=8, colors=INK)
    axes.yaxis.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _in_decades(axes: Axes, bound_s: float | None, *, has_values: bool) -> None:
    """Give the axes a logarithmic scale, and a line for what is in time."""
    from matplotlib.ticker import LogLocator, NullLocator

    if bound_s is not None:
        axes.axhline(bound_s, color=FAINT, linewidth=1, linestyle=(0, (4, 4)))
        place = (-0.28, bound_s)
        axes.annotate(f"in time: {bound_s:g} s", place, (0, 3), textcoords="offset points", fontsize=8, color=FAINT)
    elif not has_values:
        axes.set_ylim(0.1, 1)
    formatter = axes.yaxis.get_major_formatter()
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low <= FEW_DECADES else (1,)))
    axes.yaxis.set_major_formatter(formatter)
    axes.yaxis.set_minor_locator(NullLocator())
