"""Dashboards for other servers find what they look for: their names and labels, our numbers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shortlist.telemetry import Metrics
from shortlist.telemetry.compat import collectors
from shortlist.telemetry.metrics import LATENCY_BUCKETS_S
from shortlist.types import RERANK

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def metrics() -> Metrics:
    """What a small server has counted: a model that reranks, and one that embeds."""
    metrics = Metrics()
    metrics.expect("ranker", [RERANK])
    requests = {
        ("/v1/rerank", "cohere", "rerank", "ranker", "200"): 7,
        ("/v1/rerank", "superset", "rerank", "ranker", "200"): 2,
        ("/v1/score", "vllm", "score", "ranker", "200"): 1,
        ("/v1/rerank", "superset", "rerank", "", "429"): 3,
        ("/v1/rerank", "superset", "rerank", "", "400"): 4,
        ("/v1/rerank", "superset", "rerank", "", "499"): 1,
        ("/v1/rerank", "superset", "rerank", "", "503"): 2,
        ("/v1/embeddings", "openai", "embed", "embedder", "200"): 5,
        ("/metrics", "", "", "", "200"): 100,
    }
    for labels, number in requests.items():
        metrics.requests.labels(*labels).inc(number)
    for route, task, model, seconds in (
        ("/v1/rerank", "rerank", "ranker", 0.003),
        ("/v1/score", "score", "ranker", 0.3),
        ("/v1/rerank", "rerank", "", 0.0001),
        ("/v1/embeddings", "embed", "embedder", 0.03),
        ("/metrics", "", "", 0.01),
    ):
        metrics.request_duration.labels(route, task, model).observe(seconds)
    for histogram in (metrics.tokenize_duration, metrics.queue_duration, metrics.inference_duration):
        histogram.labels("ranker", "rerank").observe(0.02)
        histogram.labels("embedder", "embed").observe(0.2)
    metrics.batch_items.labels("ranker").observe(30)
    metrics.batch_tokens.labels("ranker").observe(3000)
    metrics.batch_items.labels("embedder").observe(3)
    metrics.queue_items.labels("ranker").set(11)
    metrics.queue_items.labels("embedder").set(4)
    metrics.running_items.labels("ranker").set(16)
    metrics.tokens.labels("ranker").inc(3000)
    metrics.documents.labels("ranker", "rerank").inc(90)
    metrics.failed.labels("ranker", "BadScore").inc(2)
    metrics.cache_hits.labels("ranker").inc(40)
    metrics.cache_misses.labels("ranker").inc(50)
    return metrics


def families(metrics: Metrics, *names: str) -> dict[str, Metric]:
    """Return a scrape, by metric name."""
    registry = CollectorRegistry()
    for collector in collectors(metrics, names, methods={"/v1/rerank": "POST", "/metrics": "GET"}):
        registry.register(collector)
    return {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}


def samples(found: dict[str, Metric]) -> Samples:
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for one in found.values() for each in one.samples}


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    return samples(found)[name, tuple(sorted(labels.items()))]


def labels_of(found: dict[str, Metric], name: str) -> set[frozenset[str]]:
    return {frozenset(each.labels) - {"le"} for each in found[name].samples}


# -- Text Embeddings Inference ------------------------------------------------------------------------------------------

TEI_NAMES = {
    *(f"te_request_{what}" for what in ("count", "success", "failure")),
    *(
        f"te_{task}_{what}duration"
        for task in ("request", "embed", "predict")
        for what in ("", "tokenization_", "queue_", "inference_")
    ),
    *(f"te_{task}_{what}" for task in ("embed", "predict") for what in ("count", "success")),
    "te_queue_size",
    "te_batch_next_size",
    "te_batch_next_tokens",
}


def test_tei_finds_its_names_and_no_others(metrics: Metrics) -> None:
    assert set(families(metrics, "tei")) == TEI_NAMES


def test_tei_counters_have_no_total(metrics: Metrics) -> None:
    found = families(metrics, "tei")
    assert {found[name].type for name in TEI_NAMES if name.endswith(("count", "success", "failure"))} == {"unknown"}
    assert not any(name.endswith("_total") for name, _ in samples(found))


def test_tei_counts_requests_for_work_by_task(metrics: Metrics) -> None:
    found = families(metrics, "tei")
    assert value(found, "te_request_count", method="batch") == 7 + 2 + 1 + 3 + 4 + 1 + 2 + 5
    assert value(found, "te_request_success", method="batch") == 7 + 2 + 1 + 5
    assert (value(found, "te_predict_count"), value(found, "te_predict_success")) == (20, 10)
    assert (value(found, "te_embed_count"), value(found, "te_embed_success")) == (5, 5)
    assert value(found, "te_queue_size") == 15


def test_tei_tells_failures_apart(metrics: Metrics) -> None:
    found = families(metrics, "tei")
    errors = {"validation": 4, "overloaded": 3, "dropped": 1, "inference": 2}
    assert {each.labels["err"]: each.value for each in found["te_request_failure"].samples} == errors


def test_tei_times_tasks_apart_and_together(metrics: Metrics) -> None:
    found = families(metrics, "tei")
    assert value(found, "te_request_duration_count") == 4, "a look at the metrics is no work"
    assert value(found, "te_predict_duration_count") == 3
    assert value(found, "te_predict_duration_sum") == pytest.approx(0.3031)
    assert value(found, "te_predict_duration_bucket", le="0.005") == 2
    assert value(found, "te_embed_queue_duration_sum") == pytest.approx(0.2)
    assert value(found, "te_batch_next_size_count") == 2
    assert value(found, "te_batch_next_size_bucket", le="4.0") == 1


# -- vLLM ---------------------------------------------------------------------------------------------------------------

OF_RANKER = {"model_name": "ranker", "engine": "0"}


def test_vllm_finds_the_names_of_a_rerankers_dashboard(metrics: Metrics) -> None:
    found = families(metrics, "vllm")
    assert {name for name, _ in samples(found) if not name.endswith(("_bucket", "_sum", "_count"))} == {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:prompt_tokens_total",
        "vllm:request_success_total",
        "vllm:prefix_cache_queries_total",
        "vllm:prefix_cache_hits_total",
    }
    assert {name for name in found if found[name].type == "histogram"} == {
        "vllm:e2e_request_latency_seconds",
        "vllm:request_queue_time_seconds",
    }
    assert all({"model_name", "engine"} <= labels for name in found for labels in labels_of(found, name))


def test_vllm_reads_our_numbers_by_model(metrics: Metrics) -> None:
    found = families(metrics, "vllm")
    assert value(found, "vllm:num_requests_running", **OF_RANKER) == 16
    assert value(found, "vllm:num_requests_waiting", **OF_RANKER) == 11
    assert value(found, "vllm:prompt_tokens_total", **OF_RANKER) == 3000
    assert value(found, "vllm:request_success_total", **OF_RANKER, finished_reason="stop") == 88
    assert value(found, "vllm:prefix_cache_queries_total", **OF_RANKER) == 90
    assert value(found, "vllm:prefix_cache_hits_total", **OF_RANKER) == 40
    assert value(found, "vllm:e2e_request_latency_seconds_count", **OF_RANKER) == 2
    assert value(found, "vllm:e2e_request_latency_seconds_bucket", **OF_RANKER, le="0.5") == 2
    assert value(found, "vllm:e2e_request_latency_seconds_bucket", **OF_RANKER, le="0.2") == 1


# -- HTTP ---------------------------------------------------------------------------------------------------------------


def test_http_counts_every_request_by_handler_method_and_kind_of_status(metrics: Metrics) -> None:
    found = families(metrics, "http")
    assert set(found) == {"http_requests", "http_request_duration_seconds", "http_request_duration_highr_seconds"}
    place = {"handler": "/v1/rerank", "method": "POST"}
    assert value(found, "http_requests_total", **place, status="2xx") == 9
    assert value(found, "http_requests_total", **place, status="4xx") == 8
    assert value(found, "http_requests_total", handler="/metrics", method="GET", status="2xx") == 100
    assert value(found, "http_request_duration_seconds_count", **place) == 2
    assert value(found, "http_request_duration_highr_seconds_count") == 5
    bounds = {each.labels["le"] for each in found["http_request_duration_highr_seconds"].samples if "le" in each.labels}
    assert bounds == {*map(str, LATENCY_BUCKETS_S), "+Inf"}


# -- any of them --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("tei",), ("vllm",), ("http",), ("tei", "vllm", "http", "tei")])
def test_server_that_has_counted_nothing_can_be_looked_at(names: Sequence[str]) -> None:
    families(Metrics(), *names)


def test_nothing_is_shown_that_was_not_asked_for(metrics: Metrics) -> None:
    assert list(collectors(metrics, (), methods={})) == []
    assert all(name.startswith("vllm:") for name in families(metrics, "vllm"))


def test_looking_twice_counts_nothing_twice(metrics: Metrics) -> None:
    assert samples(families(metrics, "tei", "vllm", "http")) == samples(families(metrics, "tei", "vllm", "http"))
