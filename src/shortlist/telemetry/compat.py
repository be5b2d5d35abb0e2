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
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UntypedMetricFamily,
)
from prometheus_client.registry import Collector

from shortlist.telemetry.metrics import Metrics

Labels = Mapping[str, str]
Keep = Callable[[Labels], tuple[str, ...] | None]
"""Of a series' labels, the values under which it is counted here; None to leave it out."""

TASKS: Final = {"predict": ("rerank", "score"), "embed": ("embed",)}
"""What TEI calls tasks; a rerank is a prediction there."""

FAILURES: Final = {"400": "validation", "413": "batch_size", "422": "validation", "429": "overloaded", "499": "dropped"}
"""What TEI calls failures, by what we answered. Whatever else the server could not do is inference."""

ENGINE: Final = "0"
"""vLLM numbers its engines; there is one for every model here."""


class _Families(Collector):
    """Families that are made of our metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        """Yield the names."""
        return self.collect()


class TeiCollector(_Families):
    """`te_*`, as far as it can be told."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families. Their counters have no `_total`, as TEI's."""
        metrics = self._metrics
        is_task = _among(tuple(name for names in TASKS.values() for name in names))
        yield from self._requests("te_request", is_task)
        failures = _sums(metrics.requests, lambda labels: (_failure(labels["status"]),) if is_task(labels) else None)
        family = UntypedMetricFamily("te_request_failure", "Requests that failed.", labels=["err"])
        for (reason,), value in failures.items():
            if reason:
                family.add_metric([reason], value)
        yield family
        for name, tasks in TASKS.items():
            yield from self._requests(f"te_{name}", _among(tasks), has_method=False)
        yield _gauge("te_queue_size", "Documents and texts that wait.", metrics.queue_items)
        yield _histogram("te_batch_next_size", "Documents and texts in a step.", metrics.batch_items)
        yield _histogram("te_batch_next_tokens", "Tokens in a step.", metrics.batch_tokens)

    def _requests(self, prefix: str, is_meant: Callable[[Labels], bool], *, has_method: bool = True) -> Iterator[Metric]:
        """Yield what TEI has for requests of any task, and once more for those of each."""
        metrics = self._metrics
        method = ("batch",) if has_method else ()  # the method is not counted

        def count(name: str, text: str, is_counted: Callable[[Labels], bool]) -> Metric:
            family = UntypedMetricFamily(f"{prefix}_{name}", text, labels=["method"] if has_method else [])
            family.add_metric(method, sum(_sums(metrics.requests, lambda labels: () if is_counted(labels) else None).values()))
            return family

        yield count("count", "Requests.", is_meant)
        yield count("success", "Requests that were answered.", lambda labels: is_meant(labels) and labels["status"] == "200")
        spent = {
            "duration": metrics.request_duration,
            "tokenization_duration": metrics.tokenize_duration,
            "queue_duration": metrics.queue_duration,
            "inference_duration": metrics.inference_duration,
        }
        for name, histogram in spent.items():
            yield _histogram(f"{prefix}_{name}", "Seconds.", histogram, lambda labels: () if is_meant(labels) else None)


class VllmCollector(_Families):
    """The part of `vllm:*` that a reranker's dashboard uses."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families. A document or text is what vLLM calls a request."""
        metrics = self._metrics
        names = ("model_name", "engine")
        yield _gauge("vllm:num_requests_running", "In steps under way.", metrics.running_items, names, _by_model)
        yield _gauge("vllm:num_requests_waiting", "That wait.", metrics.queue_items, names, _by_model)
        yield _counter("vllm:prompt_tokens", "Tokens computed.", names, _sums(metrics.tokens, _by_model))
        done = _sums(metrics.documents, _by_model)
        for key, value in _sums(metrics.failed, _by_model).items():
            done[key] -= value
        done = {(*key, "stop"): value for key, value in done.items()}
        yield _counter("vllm:request_success", "That have their value.", (*names, "finished_reason"), done)
        hits, misses = (_sums(counter, _by_model) for counter in (metrics.cache_hits, metrics.cache_misses))
        asked = {key: value + misses.get(key, 0.0) for key, value in hits.items()}
        yield _counter("vllm:prefix_cache_queries", "Scores and vectors that were looked up.", names, asked)
        yield _counter("vllm:prefix_cache_hits", "Scores and vectors that were remembered.", names, hits)
        latency = metrics.request_duration
        yield _histogram("vllm:e2e_request_latency_seconds", "Of whole requests.", latency, _by_known_model, names)
        yield _histogram("vllm:request_queue_time_seconds", "In the queue.", metrics.queue_duration, _by_model, names)


class HttpCollector(_Families):
    """`http_*`, without sizes, which are not counted.

    Args:
        metrics: Where requests are counted.
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
        spent = metrics.request_duration
        yield _histogram("http_request_duration_seconds", "Seconds.", spent, self._place, ("handler", "method"))
        yield _histogram("http_request_duration_highr_seconds", "Seconds, of all.", spent)

    def _place(self, labels: Labels) -> tuple[str, str]:
        return labels["route"], self._methods.get(labels["route"], "")


def _by_model(labels: Labels) -> tuple[str, ...]:
    return labels["model"], ENGINE


def _by_known_model(labels: Labels) -> tuple[str, ...] | None:
    return _by_model(labels) if labels["model"] else None


def _among(tasks: tuple[str, ...]) -> Callable[[Labels], bool]:
    return lambda labels: labels["task"] in tasks


def _failure(status: str) -> str:
    """Return what TEI calls a request that was answered like this; nothing if it did not fail."""
    return FAILURES.get(status, "validation" if status[0] == "4" else "inference" if status[0] == "5" else "")


def _sums(metric: Counter | Gauge, keep: Keep) -> dict[tuple[str, ...], float]:
    """Return the sums of a metric's series, by what is kept of their labels."""
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
    """Return a histogram's series added up, by what is kept of their labels."""
    buckets: dict[tuple[str, ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for family in histogram.collect():
        for sample in family.samples:
            key = keep(sample.labels)
            if key is not None and sample.name.endswith("_bucket"):
                buckets[key][sample.labels["le"]] += sample.value
            elif key is not None and sample.name.endswith("_sum"):
                sums[key] += sample.value
    found = HistogramMetricFamily(name, text, labels=labels)
    for key, counts in buckets.items():
        found.add_metric(key, list(counts.items()), sums[key])
    return found


def collectors(metrics: Metrics, families: Iterable[str], *, methods: Mapping[str, str]) -> Iterator[Collector]:
    """Yield what shows these families (tei, vllm, http), each once.

    Args:
        metrics: What they are made of.
        families: Which of them are wanted.
        methods: The method of every route.
    """
    made: Mapping[str, Callable[[], Collector]] = {
        "tei": lambda: TeiCollector(metrics),
        "vllm": lambda: VllmCollector(metrics),
        "http": lambda: HttpCollector(metrics, methods),
    }
    yield from (made[name]() for name in dict.fromkeys(families))
