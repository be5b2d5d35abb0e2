"""Metrics of one server are its own."""

from __future__ import annotations

from prometheus_client import generate_latest

from shortlist.telemetry import Metrics


def test_two_servers_in_one_process_do_not_share_metrics() -> None:
    one, two = Metrics(), Metrics()
    one.tokens.labels("demo").inc(5)
    assert b'shortlist_tokens_total{model="demo"} 5.0' in generate_latest(one.registry)
    assert b'model="demo"' not in generate_latest(two.registry)


def test_metric_names_carry_our_prefix() -> None:
    assert all(metric.name.startswith(("shortlist_", "process_")) for metric in Metrics().registry.collect())
