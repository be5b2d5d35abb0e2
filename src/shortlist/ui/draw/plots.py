"""The server status as small plots: a value, its label, and the last minutes as a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from shortlist.ui.i18n import Messages
from shortlist.ui.metrics_view import MetricsHistory, MetricsPoint

WIDTH, HEIGHT, TOP = 300.0, 72.0, 6.0
MIN_STEPS: Final = 15
"""Fewest points on a plot's axis, half a minute; the newest is at the right edge."""
PERCENT: Final = 100.0


@dataclass(frozen=True, slots=True)
class _Panel:
    """One plot.

    Attributes:
        title: The metric's name.
        hint: Its unit and scope.
        value_of: Returns its value in a point.
        min_top: Lowest top of the y axis, so that noise stays small.
    """

    title: str
    hint: str
    value_of: Callable[[MetricsPoint], float | None]
    min_top: float = 1.0


def status_html(history: MetricsHistory, messages: Messages) -> str:
    """Return the metrics history as HTML."""
    if not history.points:
        wait = f"<strong>{escape(messages.status_wait)}</strong><span>{escape(messages.status_empty_hint)}</span>"
        return f'<div class="sl-empty" lang="{messages.lang}">{wait}</div>'
    seconds = round(history.points[-1].at_s - history.points[0].at_s)
    panels = "".join(_panel(panel, history.points, seconds, messages) for panel in _panels(history, messages))
    state = "" if history.is_ready is None else _state(messages, is_ready=history.is_ready)
    header = f'<p class="sl-state">{state}<span>{escape(messages.window.format(seconds=seconds))}</span></p>'
    caption = escape(messages.status_caption)
    inner = f'{header}<div class="sl-panels">{panels}</div>'
    return f'<section class="sl-status" lang="{messages.lang}" aria-label="{caption}">{inner}</section>'


def _panels(history: MetricsHistory, messages: Messages) -> tuple[_Panel, ...]:
    memory_hint = messages.memory_process if history.has_process_memory else messages.memory_cache
    return (
        _Panel(messages.per_second, messages.requests_hint, lambda each: each.requests_per_s),
        _Panel(messages.latency, messages.latency_hint, lambda each: each.latency_ms, 10.0),
        _Panel(messages.queue, messages.queue_hint, lambda each: each.queue_items, 4.0),
        _Panel(messages.hit_rate, messages.hit_rate_hint, lambda each: each.hit_percent, PERCENT),
        _Panel(messages.tokens_per_second, messages.tokens_hint, lambda each: each.tokens_per_s, 10.0),
        _Panel(messages.memory, memory_hint, lambda each: each.memory_mib),
    )


def _state(messages: Messages, *, is_ready: bool) -> str:
    kind, sentence = ("sl-good", messages.is_ready) if is_ready else ("sl-bad", messages.is_not_ready)
    return f'<b class="{kind}">{escape(sentence)}</b>'


def _panel(panel: _Panel, points: Sequence[MetricsPoint], seconds: int, messages: Messages) -> str:
    values = [panel.value_of(point) for point in points]
    known = [value for value in values if value is not None]
    now = messages.no_data if values[-1] is None else _number(values[-1])
    plot = _plot(panel, values, known, now, seconds, messages) if known else ""
    kind = ' class="sl-none"' if values[-1] is None else ""
    return (
        f'<figure class="sl-panel"><figcaption><b>{escape(panel.title)}</b><small>{escape(panel.hint)}</small></figcaption>'
        f"<output{kind}>{escape(now)}</output>{plot}</figure>"
    )


def _plot(
    panel: _Panel, values: Sequence[float | None], known: Sequence[float], now: str, seconds: int, messages: Messages
) -> str:
    description = messages.plot_summary.format(
        title=panel.title, now=now, low=_number(min(known)), high=_number(max(known)), seconds=seconds
    )
    top = max(panel.min_top, *known)
    num_steps = max(MIN_STEPS, len(values))
    lines = "".join(_segment(segment, top, num_steps) for segment in _segments(values, num_steps))
    size = f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none"'
    return f'<svg {size} role="img" aria-label="{escape(description)}">{lines}</svg>'


def _segments(values: Sequence[float | None], num_steps: int) -> list[list[tuple[int, float]]]:
    """Return the segments without a gap, as pairs of axis step and value; the last step is now."""
    segments: list[list[tuple[int, float]]] = [[]]
    for step, value in enumerate(values, start=num_steps - len(values)):
        if value is None:
            segments.append([])
        else:
            segments[-1].append((step, value))
    return [segment for segment in segments if segment]


def _segment(segment: Sequence[tuple[int, float]], top: float, num_steps: int) -> str:
    points = [(WIDTH * step / (num_steps - 1), TOP + (HEIGHT - TOP - 1) * (1 - value / top)) for step, value in segment]
    if len(points) == 1:  # a single point is drawn as a short dash: a line of one point is invisible
        points.insert(0, (points[0][0] - 2, points[0][1]))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    area = f"{points[0][0]:.1f},{HEIGHT:g} {line} {points[-1][0]:.1f},{HEIGHT:g}"
    return f'<polygon points="{area}"/><polyline points="{line}"/>'


def _number(value: float) -> str:
    if value >= PERCENT or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
