"""Plots of the server status: correct values, and a text description."""

from __future__ import annotations

import re

from shortlist.ui.draw.plots import HEIGHT, TOP, WIDTH, status_html
from shortlist.ui.i18n import CHINESE, ENGLISH
from shortlist.ui.metrics_view import READY, MetricsHistory, MetricsPoint, MetricsSample
from tests.support.seen import Seen


def point(at_s: float, **rest: float | None) -> MetricsPoint:
    idle: dict[str, float | None] = {"requests_per_s": 0.0, "latency_ms": None, "queue_items": 0.0, "hit_percent": None}
    return MetricsPoint(**{"at_s": at_s, "tokens_per_s": 0.0, "memory_mib": None, **idle, **rest})  # type: ignore[arg-type]


def history(*points: MetricsPoint, **sums: float) -> MetricsHistory:
    return MetricsHistory(MetricsSample(at_s=9.0, sums=sums, buckets={}), points)


def lines(html: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]+)"', html)
    return [[(float(x), float(y)) for x, y in (point.split(",") for point in line.split())] for line in found]


def test_placeholder_before_the_second_sample() -> None:
    assert ENGLISH.status_wait in status_html(MetricsHistory(), ENGLISH)
    assert CHINESE.status_wait in status_html(history(), CHINESE)


def test_newest_value_is_at_the_right_and_the_largest_at_the_top() -> None:
    html = status_html(history(point(1, requests_per_s=5.0), point(3, requests_per_s=10.0)), ENGLISH)
    (x_old, y_old), (x_new, y_new) = lines(html)[0]
    assert x_old < x_new == WIDTH
    assert y_new == TOP
    assert y_old == (HEIGHT - 1 + TOP) / 2
    assert "<output>10</output>" in html


def test_plot_has_a_text_description() -> None:
    html = status_html(history(point(1, requests_per_s=5.0), point(3, requests_per_s=10.0)), ENGLISH)
    assert 'role="img" aria-label="Requests per second: now 10, between 5 and 10 in the last 2 seconds"' in html
    assert Seen(html).open == []


def test_line_has_gaps_at_missing_values() -> None:
    latencies = (20.0, None, 30.0, 40.0)
    html = status_html(history(*(point(at, latency_ms=value) for at, value in enumerate(latencies))), ENGLISH)
    panel = html.partition(ENGLISH.latency)[2].partition("</figure>")[0]
    assert [len(line) for line in lines(panel)] == [2, 2]


def test_missing_current_value_is_a_text_not_zero() -> None:
    html = status_html(history(point(1, latency_ms=None)), ENGLISH)
    panel = html.partition(ENGLISH.latency)[2].partition("</figure>")[0]
    assert ENGLISH.no_data in panel
    assert "<svg" not in panel


def test_readiness_and_the_scope_of_memory_are_shown() -> None:
    ready = status_html(history(point(1, memory_mib=3.0), **{READY: 1.0, "process_resident_memory_bytes": 1.0}), ENGLISH)
    assert ENGLISH.is_ready in ready
    assert ENGLISH.memory_process in ready
    stopping = status_html(history(point(1), **{READY: 0.0}), ENGLISH)
    assert ENGLISH.is_not_ready in stopping
    assert ENGLISH.memory_cache in stopping
    assert ENGLISH.is_ready not in status_html(history(point(1)), ENGLISH)
