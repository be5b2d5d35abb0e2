"""Shortlist's metrics under the names of other servers, for existing dashboards. Computed at scrape time.

Text Embeddings Inference (`te_*`), vLLM (`vllm:*`) and the HTTP instrumentation that Infinity uses (`http_*`). Names and labels
are those of the other servers; buckets are Shortlist's, as a histogram cannot be rebucketed. Unknown values have no series.

Source: text-embeddings-inference's `router`, vLLM's `v1/metrics`, prometheus-fastapi-instrumentator's `metrics`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric, UntypedMetricFamily
from prometheus_client.registry import Collector

from shortlist.telemetry.metrics import Metrics

Labels = Mapping[str, str]
Keep = Callable[[Labels], tuple[str, ...] | None]
"""Maps a series' labels to the label values to aggregate by; None skips the series."""

TASKS: Final = {"predict": ("rerank", "score"), "embed": ("embed",)}
"""Tasks by TEI's name. TEI calls a rerank a prediction."""

FAILURES: Final = {"400": "validation", "413": "batch_size", "422": "validation", "429": "overloaded", "499": "dropped"}
"""TEI's failure name by status code. All other 5xx are "inference"."""

ENGINE: Final = "0"
"""vLLM's engine index. Shortlist has one engine per model."""


class _Families(Collector):
    """Metric families computed from `Metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        """Yield the names."""
        return self.collect()


class TeiCollector(_Families):
    """`te_*`, as far as Shortlist counts it."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families. Counters have no `_total`, as in TEI."""
        metrics = self._metrics
        is_task = _among(tuple(name for names in TASKS.values() for name in names))
        yield from self._requests("te_request", is_task)
        failures = _sums(metrics.requests, lambda labels: (_failure(labels["status"]),) if is_task(labels) else None)
        family = UntypedMetricFamily("te_request_failure", "Failed requests.", labels=["err"])
        for (reason,), value in failures.items():
            if reason:
                family.add_metric([reason], value)
        yield family
        for name, tasks in TASKS.items():
            yield from self._requests(f"te_{name}", _among(tasks), has_method=False)
        yield _gauge("te_queue_size", "Documents and texts in the queue.", metrics.queue_items)
        yield _histogram("te_batch_next_size", "Documents and texts in a batch.", metrics.batch_items)
        yield _histogram("te_batch_next_tokens", "Tokens in a batch.", metrics.batch_tokens)

    def _requests(self, prefix: str, has_task: Callable[[Labels], bool], *, has_method: bool = True) -> Iterator[Metric]:
        """Yield TEI's request families for one prefix."""
        metrics = self._metrics
        method = ("batch",) if has_method else ()  # the method is not counted

        def count(name: str, text: str, is_counted: Callable[[Labels], bool]) -> Metric:
            family = UntypedMetricFamily(f"{prefix}_{name}", text, labels=["method"] if has_method else [])
            family.add_metric(method, sum(_sums(metrics.requests, lambda labels: () if is_counted(labels) else None).values()))
            return family

        yield count("count", "Requests.", has_task)
        yield count("success", "Successful requests.", lambda labels: has_task(labels) and labels["status"] == "200")
        durations = {
            "duration": metrics.request_duration,
            "tokenization_duration": metrics.tokenize_duration,
            "queue_duration": metrics.queue_duration,
            "inference_duration": metrics.inference_duration,
        }
        for name, histogram in durations.items():
            yield _histogram(
                f"{prefix}_{name}", "Duration in seconds.", histogram, lambda labels: () if has_task(labels) else None
            )


class VllmCollector(_Families):
    """The `vllm:*` metrics that apply to rerankers."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families. Each document or text counts as one vLLM request."""
        metrics = self._metrics
        names = ("model_name", "engine")
        yield _gauge(
            "vllm:num_requests_running", "Documents and texts in running batches.", metrics.running_items, names, _by_model
        )
        yield _gauge("vllm:num_requests_waiting", "Documents and texts in the queue.", metrics.queue_items, names, _by_model)
        yield _counter("vllm:prompt_tokens", "Tokens computed.", names, _sums(metrics.tokens, _by_model))
        done = _sums(metrics.documents, _by_model)
        for key, value in _sums(metrics.failed, _by_model).items():
            done[key] -= value
        done = {(*key, "stop"): value for key, value in done.items()}
        yield _counter("vllm:request_success", "Documents and texts computed.", (*names, "finished_reason"), done)
        hits, misses = (_sums(counter, _by_model) for counter in (metrics.cache_hits, metrics.cache_misses))
        queries = {key: value + misses.get(key, 0.0) for key, value in hits.items()}
        yield _counter("vllm:prefix_cache_queries", "Scores and vectors looked up in the cache.", names, queries)
        yield _counter("vllm:prefix_cache_hits", "Scores and vectors found in the cache.", names, hits)
        latency = metrics.request_duration
        yield _histogram("vllm:e2e_request_latency_seconds", "Request latency in seconds.", latency, _by_known_model, names)
        yield _histogram("vllm:request_queue_time_seconds", "Queue time in seconds.", metrics.queue_duration, _by_model, names)


class HttpCollector(_Families):
    """`http_*`, without sizes, which are not counted.

    Args:
        metrics: The source metrics.
        methods: The method of every route.
    """

    def __init__(self, metrics: Metrics, methods: Mapping[str, str]) -> None:
        super().__init__(metrics)
        self._methods = methods

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        metrics = self._metrics
        counts = _sums(metrics.requests, lambda labels: (*self._place(labels), f"{labels['status'][0]}xx"))
        yield _counter("http_requests", "Requests.", ("handler", "method", "status"), counts)
        durations = metrics.request_duration
        yield _histogram("http_request_duration_seconds", "Duration in seconds.", durations, self._place, ("handler", "method"))
        yield _histogram("http_request_duration_highr_seconds", "Request latency in seconds, all routes.", durations)

    def _place(self, labels: Labels) -> tuple[str, str]:
        return labels["route"], self._methods.get(labels["route"], "")


def _by_model(labels: Labels) -> tuple[str, ...]:
    return labels["model"], ENGINE


def _by_known_model(labels: Labels) -> tuple[str, ...] | None:
    return _by_model(labels) if labels["model"] else None


def _among(tasks: tuple[str, ...]) -> Callable[[Labels], bool]:
    return lambda labels: labels["task"] in tasks


def _failure(status: str) -> str:
    """Return TEI's failure name for a status code; empty if the request did not fail."""
    return FAILURES.get(status, "validation" if status[0] == "4" else "inference" if status[0] == "5" else "")


def _sums(metric: Counter | Gauge, keep: Keep) -> dict[tuple[str, ...], float]:
    """Return the sums of a metric's series, grouped by `keep`."""
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for family in metric.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created") and (key := keep(sample.labels)) is not None:
                sums[key] += sample.value
    return sums


def _counter(name: str, text: str, labels: tuple[str, ...], sums: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sums.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, gauge: Gauge, labels: tuple[str, ...] = (), keep: Keep = lambda _: ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in _sums(gauge, keep).items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram, keep: Keep = lambda _: (), labels: tuple[str, ...] = ()) -> Metric:
    """Return a histogram's summed series, grouped by `keep`."""
    buckets: dict[tuple[str, ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for family in histogram.collect():
        for sample in family.samples:
            key = keep(sample.labels)
            if key is not None and sample.name.endswith("_bucket"):
                buckets[key][sample.labels["le"]] += sample.value
            elif key is not None and sample.name.endswith("_sum"):
                sums[key] += sample.value
    result = HistogramMetricFamily(name, text, labels=labels)
    for key, counts in buckets.items():
        result.add_metric(key, list(counts.items()), sums[key])
    return result


def collectors(metrics: Metrics, families: Iterable[str], *, methods: Mapping[str, str]) -> Iterator[Collector]:
    """Yield one collector per family (tei, vllm, http).

    Args:
        metrics: The source metrics.
        families: The families to export.
        methods: The method of every route.
    """
    made: Mapping[str, Callable[[], Collector]] = {
        "tei": lambda: TeiCollector(metrics),
        "vllm": lambda: VllmCollector(metrics),
        "http": lambda: HttpCollector(metrics, methods),
    }
    yield from (made[name]() for name in dict.fromkeys(families))
