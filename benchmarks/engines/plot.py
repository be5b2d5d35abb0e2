"""Draws a report as a bar chart: seconds per request, one panel per load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.engines.report import Report, SpeedRow
from benchmarks.loads import MIXED_DOCUMENTS
from shortlist.bench.tables import OURS, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCENT: Final = "#d9480f"
QUIET: Final = "#adb5bd"
INK: Final = "#212529"
FAINT: Final = "#868e96"
WIDTH_IN: Final = {1: 8.0, 2: 12.0}
MAX_STACKED: Final = 2
"""More panels than this are drawn in two columns."""

BAR_IN: Final = 0.27
PANEL_IN: Final = 0.75
"""Height of a panel without its bars: the title and the margins."""
TITLE_IN: Final = 0.6


def draw(report: Report, path: Path) -> None:
    """Draw the report into a PNG file."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    panels = {load: rows for load in report.rounds if (rows := report.rows(load))}
    num_columns = 1 if len(panels) <= MAX_STACKED else 2
    num_rows = -(-len(panels) // num_columns) or 1
    height_in = num_rows * (PANEL_IN + BAR_IN * len(report.entries)) + TITLE_IN
    figure = Figure(
        figsize=(WIDTH_IN[num_columns], height_in), layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1), facecolor="white"
    )
    _title_figure(figure, report)
    grid = figure.subplots(num_rows, num_columns, squeeze=False).flatten()
    for axes, (load, rows) in zip(grid, panels.items(), strict=False):
        _panel(axes, load, rows)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.savefig(path, dpi=160)


def _title_figure(figure: Figure, report: Report) -> None:
    machine = f"{report.machine.cpu}, {report.machine.num_cores} cores"
    caption = "Seconds per request: median, with fastest and slowest round; shorter is better. ×: times ours, round by round"
    figure.suptitle(f"{caption}\n{machine}", x=0.01, ha="left", fontsize=10, color=INK)


def _panel(axes: Axes, load: str, rows: list[SpeedRow]) -> None:
    medians = [row.seconds.median for row in rows]
    spreads = [
        [row.seconds.median - row.seconds.least for row in rows],
        [row.seconds.most - row.seconds.median for row in rows],
    ]
    colours = [ACCENT if row.name == OURS else QUIET for row in rows]
    axes.barh(range(len(rows)), medians, xerr=spreads, color=colours, height=0.68, error_kw={"ecolor": FAINT, "capsize": 2})
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(row.seconds.most for row in rows))
    for index, row in enumerate(rows):
        axes.annotate(
            _label(row), (row.seconds.most, index), (6, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    axes.set_title(_title(load), loc="left", fontsize=9, fontweight="bold", color=INK)
    axes.tick_params(length=0, labelsize=8, colors=INK)
    axes.xaxis.grid(visible=True, color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _label(row: SpeedRow) -> str:
    seconds = f"{short(row.seconds.median)} s"
    return seconds if row.ratio is None or row.name == OURS else f"{seconds}, {short(row.ratio.median)}×"


def _title(load: str) -> str:
    documents, cross, tokens = load.partition("x")
    if not cross or not documents.isdigit():
        return f"{MIXED_DOCUMENTS} documents of {load} lengths"
    return f"{documents} {'document' if documents == '1' else 'documents'} of {tokens} tokens"
