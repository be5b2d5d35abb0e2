"""The metrics of a server, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from shortlist.errors import Shortage
from shortlist.telemetry.vllm_state import VllmStateCollector
from shortlist.types import Operation

DRAINING = "draining"
"""Refusal reason while the server starts or stops; the other reasons are shortages."""

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
        self._add_requests()
        self._add_batches()
        self._add_texts()
        self._add_shared_cache()
        self._add_queue()
        self._add_process()
        self._add_models()
        self._add_upstreams()
        self.build_info = self._gauge("build_info", "1, with the releases of Shortlist and Python.", "version", "python")
        ProcessCollector(registry=self.registry)

    def _add_requests(self) -> None:
        self.requests = self._counter("requests", "Requests answered.", "route", "dialect", "task", "model", "status")
        self.request_duration = self._histogram(
            "request_duration_seconds",
            "Request latency, from the headers to the answer.",
            LATENCY_BUCKETS_S,
            "route",
            "task",
            "model",
        )
        self.rejected = self._counter(
            "rejected", "Requests refused by admission control, by the limit that was reached.", "reason"
        )
        self.tokenize_duration = self._histogram(
            "tokenize_duration_seconds", "Tokenization time of one request.", LATENCY_BUCKETS_S, "model", "task"
        )
        for reason in (*Shortage, DRAINING):
            self.rejected.labels(reason)

    def _add_batches(self) -> None:
        self.queue_duration = self._histogram(
            "queue_duration_seconds", "Queue time until the first batch.", LATENCY_BUCKETS_S, "model", "task"
        )
        self.inference_duration = self._histogram(
            "inference_duration_seconds", "Engine time of one batch.", LATENCY_BUCKETS_S, "model", "task"
        )
        self.batch_items = self._histogram("batch_items", "Documents or texts per batch.", POWERS_OF_TWO, "model")
        self.batch_tokens = self._histogram("batch_tokens", "Tokens per batch.", POWERS_OF_TWO, "model")
        self.batch_failures = self._counter("batch_failures", "Failed batches.", "model", "error")

    def _add_texts(self) -> None:
        self.tokens = self._counter("tokens", "Tokens computed.", "model")
        self.documents = self._counter("documents", "Documents and texts in requests.", "model", "task")
        self.ignored_fields = self._counter("ignored_fields", "Ignored request fields.", "dialect")
        self.truncated = self._counter("truncated_documents", "Truncated documents and texts.", "model")
        self.escaped = self._counter("neutralised_tokens", "Escaped special tokens in documents and texts.", "model")
        self.failed = self._counter("failed_documents", "Failed documents and texts.", "model", "error")
        self.cache_hits = self._counter("cache_hits", "Score cache hits.", "model")
        self.cache_misses = self._counter("cache_misses", "Score cache misses.", "model")
        self.coalesced = self._counter(
            "coalesced", "Values joined to an in-flight computation of another request (single flight).", "model"
        )
        self.engine_restarts = self._counter("engine_restarts", "Engine restarts.", "model")

    def _add_shared_cache(self) -> None:
        self.shared_cache_hits = self._counter("shared_cache_hits", "Shared cache hits.")
        self.shared_cache_misses = self._counter("shared_cache_misses", "Shared cache misses.")
        self.shared_cache_failures = self._counter(
            "shared_cache_failures", "Shared cache operations that failed or timed out.", "operation"
        )
        self.shared_cache_dropped = self._counter(
            "shared_cache_dropped", "Entries dropped instead of written to the shared cache."
        )
        self.shared_cache_duration = self._histogram(
            "shared_cache_duration_seconds", "Shared cache round-trip time.", LATENCY_BUCKETS_S, "operation"
        )
        self.shared_cache_up = self._gauge("shared_cache_up", "1 if the shared cache is reachable.", "cache")

    def _add_queue(self) -> None:
        self.queue_items = self._gauge("queue_items", "Queued documents and texts.", "model")
        self.queue_tokens = self._gauge("queue_tokens", "Queued tokens.", "model")
        self.queue_delay = self._gauge(
            "queue_delay_seconds",
            "Time to compute all waiting and running tokens at the measured throughput; 0 before it is measured.",
            "model",
        )
        self.running_items = self._gauge("running_items", "Documents and texts in running batches.", "model")
        self.cache_bytes = self._gauge("cache_bytes", "Memory of the score cache.", "model")

    def _add_process(self) -> None:
        self.running_requests = self._gauge("running_requests", "Admitted requests that are not answered yet.")
        self.tasks = self._gauge("tasks", "Asyncio tasks.")
        self.loop_lag = self._histogram("event_loop_lag_seconds", "Event loop lag.", LAG_BUCKETS_S)
        self.loop_blocked = self._histogram(
            "event_loop_blocked_seconds",
            "Event loop lag caused by blocking code in this process, without CPU wait.",
            LAG_BUCKETS_S,
        )

    def _add_models(self) -> None:
        self.ready = self._gauge("ready", "1 if every model accepts requests.")
        self.model_ready = self._gauge("model_ready", "1 if the model's engine is available.", "model")
        self.model_info = self._gauge("model_info", "1 for every served model.", "model", "device", "dtype", "fingerprint")

    def _add_upstreams(self) -> None:
        upstream = ("model", "upstream")
        self.upstream_up = self._gauge(
            "upstream_up", "1 if the vLLM server is healthy; 0 while the circuit breaker is open.", *upstream
        )
        self.upstream_tokens = self._gauge("upstream_tokens", "In-flight tokens of the vLLM server.", *upstream)
        self.upstream_requests = self._counter("upstream_requests", "Calls to the vLLM server, probes included.", *upstream)
        self.upstream_failures = self._counter(
            "upstream_failures", "Failed calls to the vLLM server: refused, disconnected or timed out.", *upstream
        )
        self.upstream_retries = self._counter("upstream_retries", "Retried calls to the vLLM server.", *upstream)
        self.upstream_duration = self._histogram(
            "upstream_duration_seconds", "Duration of an answered call to the vLLM server.", LATENCY_BUCKETS_S, *upstream
        )
        self.vllm_states = VllmStateCollector()
        self.registry.register(self.vllm_states)

    def expect(self, model: str, operations: Iterable[Operation]) -> None:
        """Initialise a model's counters to zero: a rate misses the first increment of a new series."""
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
        for operation in operations:
            self.documents.labels(model, operation.name)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"shortlist_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"shortlist_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"shortlist_{name}", text, labels, buckets=buckets, registry=self.registry)
