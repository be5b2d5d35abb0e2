"""A report as a picture: seconds per request, one panel per load, shorter is better."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shortlist.bench.report import OURS, Report, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCENT: Final = "#d9480f"
QUIET: Final = "#adb5bd"
INK: Final = "#212529"
FAINT: Final = "#868e96"
WIDTH_IN: Final = 8.0
BAR_IN: Final = 0.27
PANEL_IN: Final = 0.75
"""Height of a panel beside its bars: its title and the space around it."""


def is_available() -> bool:
    """Tell whether plots can be drawn: matplotlib comes with the extra `bench`."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(report: Report, path: Path) -> None:
    """Draw the report into a PNG file."""
    from matplotlib.figure import Figure

    panels = {load: rows for load in report.rounds if (rows := report.rows(load))}
    heights = [PANEL_IN + BAR_IN * len(rows) for rows in panels.values()]
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.6), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(hspace=0.02, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    figure.suptitle(
        f"Seconds per request, shorter is better\n{report.machine.cpu}, {report.machine.num_cores} cores",
        x=0.01,
        ha="left",
        fontsize=10,
        color=INK,
    )
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (load, rows) in zip(axes, panels.items(), strict=True):
        _panel(panel, load, rows)
    figure.savefig(path, dpi=160)


def _panel(axes: Axes, load: str, rows: list[Row]) -> None:
    medians = [row.seconds.median for row in rows]
    spreads = [
        [row.seconds.median - row.seconds.least for row in rows],
        [row.seconds.most - row.seconds.median for row in rows],
    ]
    colours = [ACCENT if row.name == OURS else QUIET for row in rows]
    axes.barh(range(len(rows)), medians, xerr=spreads, color=colours, height=0.68, error_kw={"ecolor": FAINT, "capsize": 2})
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.22 * max(row.seconds.most for row in rows))
    for place, row in enumerate(rows):
        axes.annotate(
            _label(row), (row.seconds.most, place), (6, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    axes.set_title(_title(load), loc="left", fontsize=9, fontweight="bold", color=INK)
    axes.tick_params(length=0, labelsize=8, colors=INK)
    axes.xaxis.grid(visible=True, color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _label(row: Row) -> str:
    if row.ratio is None or row.name == OURS:
        return f"{row.seconds.median:.3g} s"
    return f"{row.seconds.median:.3g} s, {row.ratio.median:.2f} x"


def _title(load: str) -> str:
    documents, cross, tokens = load.partition("x")
    if not cross or not documents.isdigit():
        return f"{load} lengths"
    return f"{documents} {'document' if documents == '1' else 'documents'} of {tokens} tokens"
