"""What vLLM servers report is exported by server; what is not known has no series."""

from __future__ import annotations

from dataclasses import fields

from shortlist.telemetry import Metrics
from shortlist.telemetry.vllm_state import VllmState, VllmStateCollector

STATE = VllmState(kv_cache_usage=0.5, prefix_cache_queries=10, prefix_cache_hits=4, running_requests=2, waiting_requests=3)


def shown(metrics: Metrics, upstream: str) -> dict[str, float]:
    return {
        sample.name.removeprefix("shortlist_upstream_"): sample.value
        for family in metrics.vllm_states.collect()
        for sample in family.samples
        if sample.labels == {"model": "m", "upstream": upstream}
    }


def test_every_attribute_has_a_metric() -> None:
    assert len(list(VllmStateCollector().describe())) == len(fields(VllmState))


def test_state_is_read_at_scrape_time_and_vanishes() -> None:
    metrics = Metrics()
    states: list[VllmState | None] = [STATE, VllmState(waiting_requests=0), None]
    metrics.vllm_states.add("m", "http://a", lambda: states.pop(0))
    assert shown(metrics, "http://a") == {
        "kv_cache_usage_ratio": 0.5,
        "prefix_cache_queries_total": 10,
        "prefix_cache_hits_total": 4,
        "running_requests": 2,
        "waiting_requests": 3,
    }
    assert shown(metrics, "http://a") == {"waiting_requests": 0}
    assert shown(metrics, "http://a") == {}


def test_servers_are_apart_and_a_new_one_replaces_that_of_its_name() -> None:
    metrics = Metrics()
    metrics.vllm_states.add("m", "http://a", lambda: STATE)
    metrics.vllm_states.add("m", "child", lambda: STATE)
    metrics.vllm_states.add("m", "child", lambda: VllmState(running_requests=7))
    assert len(shown(metrics, "http://a")) == 5
    assert shown(metrics, "child") == {"running_requests": 7}
