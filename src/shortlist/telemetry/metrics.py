"""Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from shortlist.errors import Shortage
from shortlist.types import Task

DRAINING = "draining"
"""Reason of a rejection while the server starts or stops. The other reasons are shortages."""

LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
POWERS_OF_TWO = tuple(float(2**n) for n in range(18))


class Metrics:
    """Every metric of one server, in a registry of its own.

    Labels are bounded: served model names, addresses of upstreams, routes, dialects, tasks, status codes, reasons. A label is
    empty where it does not apply or is unknown when the request ends. Units are in the names.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered.", "route", "dialect", "task", "model", "status")
        self.request_duration = self._histogram(
            "request_duration_seconds",
            "Request latency in seconds, from headers to response.",
            LATENCY_BUCKETS_S,
            "route",
            "task",
            "model",
        )
        self.rejected = self._counter("rejected", "Requests rejected before inference, by reason.", "reason")
        self.tokenize_duration = self._histogram(
            "tokenize_duration_seconds", "Tokenization time of a request in seconds.", LATENCY_BUCKETS_S, "model", "task"
        )
        self.queue_duration = self._histogram(
            "queue_duration_seconds", "Time in the queue until the first batch, in seconds.", LATENCY_BUCKETS_S, "model", "task"
        )
        self.inference_duration = self._histogram(
            "inference_duration_seconds", "Inference time of a batch in seconds.", LATENCY_BUCKETS_S, "model", "task"
        )
        self.batch_items = self._histogram("batch_items", "Documents or texts in a batch.", POWERS_OF_TWO, "model")
        self.batch_tokens = self._histogram("batch_tokens", "Tokens in a batch.", POWERS_OF_TWO, "model")
        self.batch_failures = self._counter("batch_failures", "Batches that failed and were split.", "model", "error")
        self.tokens = self._counter("tokens", "Tokens computed.", "model")
        self.documents = self._counter("documents", "Documents and texts requested.", "model", "task")
        self.ignored_fields = self._counter("ignored_fields", "Request fields that were ignored.", "dialect")
        self.truncated = self._counter("truncated_documents", "Documents and texts truncated to fit.", "model")
        self.escaped = self._counter("neutralised_tokens", "Special tokens in documents and texts that were escaped.", "model")
        self.failed = self._counter("failed_documents", "Documents and texts that failed individually.", "model", "error")
        self.cache_hits = self._counter("cache_hits", "Scores and vectors found in the cache.", "model")
        self.cache_misses = self._counter("cache_misses", "Scores and vectors not found in the cache.", "model")
        self.coalesced = self._counter(
            "coalesced", "Scores and vectors taken from another request's in-flight computation.", "model"
        )
        self.engine_restarts = self._counter("engine_restarts", "Engine restarts after a failure.", "model")
        self.shared_cache_hits = self._counter("shared_cache_hits", "Scores and vectors found in the shared cache.")
        self.shared_cache_misses = self._counter("shared_cache_misses", "Scores and vectors not found in the shared cache.")
        self.shared_cache_failures = self._counter(
            "shared_cache_failures", "Shared cache operations that failed or timed out.", "operation"
        )
        self.shared_cache_dropped = self._counter("shared_cache_dropped", "Scores and vectors not written to the shared cache.")
        self.shared_cache_duration = self._histogram(
            "shared_cache_duration_seconds", "Round-trip time of the shared cache in seconds.", LATENCY_BUCKETS_S, "operation"
        )
        self.shared_cache_up = self._gauge("shared_cache_up", "1 while the shared cache is available.", "cache")
        self.queue_items = self._gauge("queue_items", "Documents and texts in the queue.", "model")
        self.queue_tokens = self._gauge("queue_tokens", "Tokens in the queue.", "model")
        self.running_items = self._gauge("running_items", "Documents and texts in running batches.", "model")
        self.cache_bytes = self._gauge("cache_bytes", "Memory of cached scores and vectors in bytes.", "model")
        self.running_requests = self._gauge("running_requests", "Requests in progress.")
        self.tasks = self._gauge("tasks", "Tasks of the event loop.")
        self.loop_lag = self._histogram("event_loop_lag_seconds", "Event loop lag in seconds.", LAG_BUCKETS_S)
        self.loop_blocked = self._histogram(
            "event_loop_blocked_seconds",
            "Part of the event loop lag that this process caused, without waiting for a CPU, in seconds.",
            LAG_BUCKETS_S,
        )
        self.ready = self._gauge("ready", "1 while all models accept requests.")
        self.model_ready = self._gauge("model_ready", "1 while the model's engine is available.", "model")
        self.model_info = self._gauge("model_info", "1 for every served model.", "model", "device", "dtype", "fingerprint")
        self._add_upstreams()
        self.build_info = self._gauge(
            "build_info", "1, labelled with the versions of Shortlist and Python.", "version", "python"
        )
        ProcessCollector(registry=self.registry)
        for reason in (*Shortage, DRAINING):
            self.rejected.labels(reason)

    def _add_upstreams(self) -> None:
        upstream = ("model", "upstream")
        self.upstream_up = self._gauge("upstream_up", "1 while a vLLM upstream is healthy, else 0.", *upstream)
        self.upstream_tokens = self._gauge("upstream_tokens", "Tokens in flight at a vLLM upstream.", *upstream)
        self.upstream_requests = self._counter(
            "upstream_requests", "Calls to a vLLM upstream, including health probes.", *upstream
        )
        self.upstream_failures = self._counter(
            "upstream_failures", "Calls to a vLLM upstream that were refused, disconnected or timed out.", *upstream
        )
        self.upstream_retries = self._counter(
            "upstream_retries", "Calls to a vLLM upstream that retried a failed call.", *upstream
        )
        self.upstream_duration = self._histogram(
            "upstream_duration_seconds",
            "Duration of a successful call to a vLLM upstream in seconds.",
            LATENCY_BUCKETS_S,
            *upstream,
        )

    def expect(self, model: str, tasks: Iterable[Task]) -> None:
        """Create a model's counters at zero. A rate misses the first increment of a new counter."""
        for counter in (
            self.tokens,
            self.truncated,
            self.escaped,
            self.cache_hits,
            self.cache_misses,
            self.coalesced,
            self.engine_restarts,
        ):
            counter.labels(model)
        for task in tasks:
            self.documents.labels(model, task.value)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"shortlist_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"shortlist_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"shortlist_{name}", text, labels, buckets=buckets, registry=self.registry)
