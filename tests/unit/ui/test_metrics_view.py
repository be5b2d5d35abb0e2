"""Two samples of the metrics give a point; values of absent metrics are None."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from shortlist.api.dialects import table
from shortlist.telemetry import Metrics
from shortlist.ui import metrics_view
from shortlist.ui.metrics_view import (
    MAX_POINTS,
    MetricsHistory,
    MetricsSample,
    is_compute_route,
    quantile,
    read_sample,
    updated_history,
)

TEXT = """
# TYPE shortlist_request_duration_seconds histogram
shortlist_request_duration_seconds_bucket{route="/v1/rerank",le="0.1"} 3.0
shortlist_request_duration_seconds_bucket{route="/v1/rerank",le="+Inf"} 4.0
shortlist_request_duration_seconds_bucket{route="/v1/embeddings",le="0.1"} 2.0
shortlist_request_duration_seconds_bucket{route="/v1/embeddings",le="+Inf"} 2.0
shortlist_request_duration_seconds_bucket{route="/metrics",le="0.1"} 100.0
shortlist_request_duration_seconds_bucket{route="/metrics",le="+Inf"} 100.0
# TYPE shortlist_cache_hits counter
shortlist_cache_hits_total{model="a"} 5.0
shortlist_cache_hits_total{model="b"} 7.0
# TYPE shortlist_queue_items gauge
shortlist_queue_items{model="a"} 2.0
"""


def sample(at_s: float, buckets: dict[float, float] | None = None, **sums: float) -> MetricsSample:
    return MetricsSample(at_s=at_s, sums=sums, buckets=buckets or {})


def test_sample_sums_over_labels_and_counts_compute_routes_only() -> None:
    read = read_sample(TEXT, 1.0)
    assert read.buckets == {0.1: 5.0, math.inf: 6.0}
    assert read.sums == {"shortlist_cache_hits_total": 12.0, "shortlist_queue_items": 2.0}


@pytest.mark.parametrize("route", [path for path in table.ENTRIES if path != "/"])
def test_every_task_of_every_dialect_is_a_compute_route(route: str) -> None:
    assert is_compute_route(route)


@pytest.mark.parametrize(
    "route", ["/", "/metrics", "/ready", "/v1/models", "/static/{path:path}", "/gradio_api/queue/join", "/theme.css", "other"]
)
def test_routes_of_the_page_and_of_probes_are_not_compute_routes(route: str) -> None:
    assert not is_compute_route(route)


def test_point_is_the_difference_of_two_samples() -> None:
    before = sample(10.0, {0.1: 5.0, math.inf: 5.0}, shortlist_tokens_total=100.0, shortlist_cache_hits_total=3.0)
    after = sample(
        12.0, {0.1: 9.0, math.inf: 9.0}, shortlist_tokens_total=700.0, shortlist_cache_hits_total=6.0,
        shortlist_cache_misses_total=1.0, shortlist_queue_items=4.0, shortlist_cache_bytes=3 * 2**20,
    )  # fmt: skip
    [point] = updated_history(updated_history(MetricsHistory(), before), after).points
    assert replace(point, latency_ms=round(point.latency_ms or 0, 6)) == metrics_view.MetricsPoint(
        at_s=12.0, requests_per_s=2.0, latency_ms=95.0, queue_items=4.0, hit_percent=75.0,
        tokens_per_s=300.0, memory_mib=3.0,
    )  # fmt: skip


def test_without_requests_latency_and_hit_rate_are_none() -> None:
    [point] = updated_history(updated_history(MetricsHistory(), sample(1.0)), sample(2.0)).points
    assert (point.requests_per_s, point.latency_ms, point.hit_percent) == (0.0, None, None)
    assert (point.queue_items, point.memory_mib) == (None, None)


def test_process_memory_takes_precedence_over_cache_memory() -> None:
    after = sample(2.0, process_resident_memory_bytes=7 * 2**20, shortlist_cache_bytes=1.0)
    history = updated_history(updated_history(MetricsHistory(), sample(1.0)), after)
    assert history.points[0].memory_mib == 7.0
    assert history.has_process_memory
    assert not updated_history(MetricsHistory(), sample(1.0)).has_process_memory


def test_restarted_server_resets_the_history() -> None:
    history = updated_history(MetricsHistory(sample(1.0, {math.inf: 50.0})), sample(2.0, {math.inf: 60.0}))
    assert len(history.points) == 1
    assert updated_history(history, sample(3.0, {math.inf: 1.0})).points == ()


def test_equal_timestamps_give_no_point() -> None:
    assert updated_history(MetricsHistory(sample(1.0)), sample(1.0)).points == ()


def test_history_keeps_the_last_points_only() -> None:
    history = MetricsHistory()
    for at_s in range(MAX_POINTS + 10):
        history = updated_history(history, sample(float(at_s)))
    assert len(history.points) == MAX_POINTS
    assert history.points[-1].at_s == MAX_POINTS + 9


@pytest.mark.parametrize(
    ("buckets", "seconds"),
    [
        ({}, None),
        ({0.1: 0.0, math.inf: 0.0}, None),
        ({0.1: 0.0, 0.2: 100.0, math.inf: 100.0}, 0.195),
        ({0.1: 90.0, 0.2: 100.0, math.inf: 100.0}, 0.15),
        ({0.1: 50.0, math.inf: 100.0}, 0.1),
    ],
)
def test_quantile_equals_histogram_quantile_of_prometheus(buckets: dict[float, float], seconds: float | None) -> None:
    found = quantile(buckets)
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("ready", [None, 0.0, 1.0])
def test_readiness_is_none_without_the_metric(ready: float | None) -> None:
    sums = {} if ready is None else {"shortlist_ready": ready}
    assert MetricsHistory(sample(1.0, None, **sums)).is_ready == (None if ready is None else ready == 1)


def test_server_exports_every_series_that_the_view_reads() -> None:
    names = {series.name for family in Metrics().registry.collect() for series in family.samples}
    exported = {family.name for family in Metrics().registry.collect()} | names
    for name in (
        metrics_view.DURATION,
        metrics_view.TOKENS,
        metrics_view.HITS,
        metrics_view.MISSES,
        metrics_view.QUEUE,
        metrics_view.READY,
        metrics_view.CACHE_MEMORY,
    ):
        assert name.removesuffix("_total") in exported
