"""Metrics of one server are its own."""

from __future__ import annotations

from prometheus_client import generate_latest

from shortlist.telemetry import Metrics
from shortlist.telemetry.metrics import LATENCY_BUCKETS_S
from shortlist.types import RERANK


def test_two_servers_in_one_process_do_not_share_metrics() -> None:
    one, two = Metrics(), Metrics()
    one.tokens.labels("demo").inc(5)
    assert b'shortlist_tokens_total{model="demo"} 5.0' in generate_latest(one.registry)
    assert b'model="demo"' not in generate_latest(two.registry)


def test_counters_start_at_zero_for_every_label() -> None:
    metrics = Metrics()
    value = metrics.registry.get_sample_value
    for reason in ("too_many_requests", "queue_full", "memory", "wait", "caller_rate", "caller_requests", "draining"):
        assert value("shortlist_rejected_total", {"reason": reason}) == 0
    assert value("shortlist_engine_restarts_total", {"model": "demo"}) is None
    metrics.expect("demo", [RERANK])
    assert value("shortlist_engine_restarts_total", {"model": "demo"}) == 0
    assert value("shortlist_documents_total", {"model": "demo", "task": "rerank"}) == 0
    assert value("shortlist_documents_total", {"model": "demo", "task": "embed"}) is None


def test_process_metrics_have_their_standard_names() -> None:
    value = Metrics().registry.get_sample_value
    assert (value("process_resident_memory_bytes") or 0) > 1_000_000
    assert (value("process_cpu_seconds_total") or 0) > 0
    assert (value("process_max_fds") or 0) >= (value("process_open_fds") or 0) > 0


def test_latency_buckets_resolve_below_a_second() -> None:
    assert len([bound for bound in LATENCY_BUCKETS_S if bound < 1]) >= 9
    assert tuple(sorted(LATENCY_BUCKETS_S)) == LATENCY_BUCKETS_S


def test_metric_names_carry_our_prefix() -> None:
    assert all(metric.name.startswith(("shortlist_", "process_")) for metric in Metrics().registry.collect())
