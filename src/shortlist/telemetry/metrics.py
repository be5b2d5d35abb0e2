"""Everything that is counted and timed, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from shortlist.errors import Shortage
from shortlist.types import Task

DRAINING = "draining"
"""Why a request was refused that came while the server was starting or stopping; the other reasons are shortages."""

LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
POWERS_OF_TWO = tuple(float(2**n) for n in range(18))


class Metrics:
    """Every metric of one server, in a registry of its own.

    Labels are bounded: served model names, addresses of upstreams, routes, dialects, tasks, status codes, reasons. A label is
    empty where it does not apply, or was not known when the request ended. Units are in the names.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered.", "route", "dialect", "task", "model", "status")
        self.request_duration = self._histogram(
            "request_duration_seconds", "From a request's headers to its answer.", LATENCY_BUCKETS_S, "route", "task", "model"
        )
        self.rejected = self._counter(
            "rejected", "Requests refused for want of room or patience, before anything was computed for them.", "reason"
        )
        self.tokenize_duration = self._histogram(
            "tokenize_duration_seconds", "Tokenising one request.", LATENCY_BUCKETS_S, "model", "task"
        )
        self.queue_duration = self._histogram(
            "queue_duration_seconds", "From the queue to the first step.", LATENCY_BUCKETS_S, "model", "task"
        )
        self.inference_duration = self._histogram(
            "inference_duration_seconds", "One step of the engine.", LATENCY_BUCKETS_S, "model", "task"
        )
        self.batch_items = self._histogram("batch_items", "Documents or texts in one step.", POWERS_OF_TWO, "model")
        self.batch_tokens = self._histogram("batch_tokens", "Tokens in one step.", POWERS_OF_TWO, "model")
        self.batch_failures = self._counter("batch_failures", "Steps that failed and were split.", "model", "error")
        self.tokens = self._counter("tokens", "Tokens computed.", "model")
        self.documents = self._counter("documents", "Documents and texts asked for.", "model", "task")
        self.ignored_fields = self._counter("ignored_fields", "Fields of requests that no one reads.", "dialect")
        self.truncated = self._counter("truncated_documents", "Documents and texts that were cut to fit.", "model")
        self.escaped = self._counter(
            "neutralised_tokens", "Control tokens written out in documents and texts, and read as plain characters.", "model"
        )
        self.failed = self._counter("failed_documents", "Documents and texts that failed alone.", "model", "error")
        self.cache_hits = self._counter("cache_hits", "Scores and vectors that were remembered.", "model")
        self.cache_misses = self._counter("cache_misses", "Scores and vectors that had to be computed.", "model")
        self.coalesced = self._counter(
            "coalesced", "Scores and vectors that another request was computing already, and that were waited for.", "model"
        )
        self.engine_restarts = self._counter("engine_restarts", "Engines that were gone and loaded anew.", "model")
        self.shared_cache_hits = self._counter("shared_cache_hits", "Scores and vectors that the shared cache had.")
        self.shared_cache_misses = self._counter("shared_cache_misses", "Scores and vectors that it was asked for in vain.")
        self.shared_cache_failures = self._counter(
            "shared_cache_failures", "Operations of the shared cache that failed or took too long.", "operation"
        )
        self.shared_cache_dropped = self._counter("shared_cache_dropped", "Scores and vectors that it did not take.")
        self.shared_cache_duration = self._histogram(
            "shared_cache_duration_seconds", "One round trip to the shared cache.", LATENCY_BUCKETS_S, "operation"
        )
        self.shared_cache_up = self._gauge("shared_cache_up", "1 while the shared cache answers.", "cache")
        self.queue_items = self._gauge("queue_items", "Documents and texts that wait.", "model")
        self.queue_tokens = self._gauge("queue_tokens", "Tokens that wait.", "model")
        self.running_items = self._gauge("running_items", "Documents and texts in the steps under way.", "model")
        self.cache_bytes = self._gauge("cache_bytes", "Memory held by remembered scores and vectors.", "model")
        self.running_requests = self._gauge("running_requests", "Requests inside.")
        self.tasks = self._gauge("tasks", "Tasks of the event loop.")
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "How much later than asked for the event loop came back.", LAG_BUCKETS_S
        )
        self.loop_blocked = self._histogram(
            "event_loop_blocked_seconds",
            "The part of that in which the loop was held up in this process, not waiting for a processor.",
            LAG_BUCKETS_S,
        )
        self.ready = self._gauge("ready", "1 when every model takes requests.")
        self.model_ready = self._gauge("model_ready", "1 while the model's engine is there.", "model")
        self.model_info = self._gauge("model_info", "1 for every served model.", "model", "device", "dtype", "fingerprint")
        self._add_upstreams()
        self.build_info = self._gauge("build_info", "1, with the releases of Shortlist and Python.", "version", "python")
        ProcessCollector(registry=self.registry)
        for reason in (*Shortage, DRAINING):
            self.rejected.labels(reason)

    def _add_upstreams(self) -> None:
        upstream = ("model", "upstream")
        self.upstream_up = self._gauge(
            "upstream_up", "1 while a server of vLLM is asked, 0 while it is left alone until it is well.", *upstream
        )
        self.upstream_tokens = self._gauge("upstream_tokens", "Tokens that a server of vLLM was sent and computes.", *upstream)
        self.upstream_requests = self._counter(
            "upstream_requests", "Calls to a server of vLLM, those that try whether it is well included.", *upstream
        )
        self.upstream_failures = self._counter(
            "upstream_failures", "Calls that a server of vLLM refused, broke off, or did not answer in time.", *upstream
        )
        self.upstream_retries = self._counter(
            "upstream_retries", "Calls to a server of vLLM that had failed before, there or elsewhere.", *upstream
        )
        self.upstream_duration = self._histogram(
            "upstream_duration_seconds", "One call that a server of vLLM answered.", LATENCY_BUCKETS_S, *upstream
        )

    def expect(self, model: str, tasks: Iterable[Task]) -> None:
        """Show what will be counted for a model as zero: a rate does not see the first step of a counter that was not there."""
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
