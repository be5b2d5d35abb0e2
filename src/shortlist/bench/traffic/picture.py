"""A load report as a picture: documents a second over the load, and under it how long answers took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from shortlist.bench.tables import short
from shortlist.bench.traffic.curve import COLOURS, Curve, Figure, Panel, apart, figures
from shortlist.bench.traffic.result import LoadReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN: Final = 8.0
HEIGHT_IN: Final = 5.6
HEIGHTS: Final = (5, 3)
INK: Final = "#212529"
FAINT: Final = "#868e96"
GRID: Final = "#e9ecef"
LABEL: Final = 0.075
"""Between the names of two curves that end near each other, as a share of the upper panel's height."""


def draw(report: LoadReport, path: Path) -> None:
    """Draw the report into a PNG file, users and rates side by side if there are both."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    kinds = figures(report)
    count = max(len(kinds), 1)
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.1)
    canvas = Canvas(figsize=(WIDTH_IN * count, HEIGHT_IN), layout=layout, facecolor="white")
    machine = f"{report.machine.cpu}, {report.machine.num_cores} cores, {report.machine.date}"
    canvas.suptitle(machine, x=0.01, ha="left", fontsize=9, color=FAINT)
    grid = canvas.subplots(2, count, squeeze=False, sharex="col", height_ratios=HEIGHTS)
    for place, figure in enumerate(kinds):
        upper, lower = grid[0][place], grid[1][place]
        _panel(upper, figure.speed, figure, LABEL)
        _panel(lower, figure.latency, figure, LABEL * HEIGHTS[0] / HEIGHTS[1])
        lower.set_xlabel(figure.title, fontsize=9, color=INK)
    canvas.savefig(path, dpi=160)


def _panel(axes: Axes, panel: Panel, figure: Figure, label: float) -> None:
    _dress(axes, panel, figure)
    if panel.bound is not None:
        axes.axhline(panel.bound, color=FAINT, linewidth=1, linestyle=(0, (4, 4)))
        words, place = f"in time: {panel.bound:g} s", (-0.28, panel.bound)
        axes.annotate(words, place, (0, 3), textcoords="offset points", fontsize=8, color=FAINT)
    for number, curve in reversed(list(enumerate(panel.curves))):  # the first one in front
        _curve(axes, curve, COLOURS[number % len(COLOURS)])
    _names(axes, panel, label)


def _dress(axes: Axes, panel: Panel, figure: Figure) -> None:
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_yscale("log" if panel.scale.is_log else "linear")
    axes.set_ylim(panel.scale.low, panel.scale.high)
    axes.set_yticks(list(panel.scale.ticks), [f"{tick:,g}" for tick in panel.scale.ticks])
    axes.set_yticks([], minor=True)
    axes.set_xticks(range(len(figure.loads)), list(figure.loads))
    axes.set_xlim(-0.3, max(len(figure.loads) - 1, 0) + 0.3)
    axes.tick_params(length=0, labelsize=8, colors=INK, labelbottom=panel is figure.latency)
    axes.yaxis.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _curve(axes: Axes, curve: Curve, colour: str) -> None:
    nan = float("nan")  # a gap in the line
    values = [point.median if point else nan for point in curve.points]
    below = [point.median - point.least if point else 0.0 for point in curve.points]
    above = [point.most - point.median if point else 0.0 for point in curve.points]
    axes.errorbar(
        range(len(values)),
        values,
        yerr=[below, above],
        color=colour,
        linewidth=2.2,
        elinewidth=1.2,
        marker="o",
        markersize=5,
        clip_on=False,
    )


def _names(axes: Axes, panel: Panel, label: float) -> None:
    """Write the names at the ends of the curves, moved apart where curves end near each other."""
    ends = panel.ends()
    for place, end in zip(apart([panel.scale.at(end.value) for end in ends], label), ends, strict=True):
        axes.annotate(
            f"{end.name}  {short(end.value)}",
            (1.0, place),
            (4, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=COLOURS[end.number % len(COLOURS)],
            annotation_clip=False,
        )
