"""Computes the values of the status tab from two samples of /metrics. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

MAX_POINTS: Final = 90
LATENCY_QUANTILE: Final = 0.95
MIB: Final = 1 << 20

COMPUTE_ROUTES: Final = re.compile(
    r"rank|embed|score|classify|pooling|predict|invocations|openai|similarity|vectors|tokenize|decode"
)
"""Routes that compute scores, vectors or tokens. The page's own routes do not match."""

DURATION: Final = "shortlist_request_duration_seconds"
TOKENS: Final = "shortlist_tokens_total"
HITS: Final = "shortlist_cache_hits_total"
MISSES: Final = "shortlist_cache_misses_total"
QUEUE: Final = "shortlist_queue_items"
READY: Final = "shortlist_ready"
PROCESS_MEMORY: Final = "process_resident_memory_bytes"
CACHE_MEMORY: Final = "shortlist_cache_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSample:
    """One sample of /metrics.

    Attributes:
        at_s: Monotonic time.
        sums: Every series that this module reads, summed over its labels; series that the server does not export are absent.
        buckets: Cumulative number of compute requests since the start, by upper bound of the duration in seconds.
    """

    at_s: float
    sums: Mapping[str, float]
    buckets: Mapping[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPoint:
    """Values between two samples; None without requests or without the metric. Units: as named."""

    at_s: float
    requests_per_s: float
    latency_ms: float | None
    queue_items: float | None
    hit_percent: float | None
    tokens_per_s: float
    memory_mib: float | None


@dataclass(frozen=True, slots=True)
class MetricsHistory:
    """The last sample, and the points up to it."""

    last: MetricsSample | None = None
    points: Sequence[MetricsPoint] = field(default_factory=tuple)

    @property
    def is_ready(self) -> bool | None:
        """Whether the server is ready; None without the metric."""
        ready = None if self.last is None else self.last.sums.get(READY)
        return None if ready is None else ready == 1

    @property
    def has_process_memory(self) -> bool:
        """Whether memory is that of the process, not only of the cache."""
        return self.last is not None and PROCESS_MEMORY in self.last.sums


def read_sample(text: str, at_s: float) -> MetricsSample:
    """Parse a text in Prometheus' format.

    Raises:
        ValueError: the text is in another format.
    """
    sums: dict[str, float] = {}
    buckets: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for series in family.samples:
            if series.name == f"{DURATION}_bucket" and is_compute_route(series.labels.get("route", "")):
                bound = float(series.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + series.value
            elif series.name in {TOKENS, HITS, MISSES, QUEUE, READY, PROCESS_MEMORY, CACHE_MEMORY}:
                sums[series.name] = sums.get(series.name, 0.0) + series.value
    return MetricsSample(at_s=at_s, sums=sums, buckets=buckets)


def is_compute_route(route: str) -> bool:
    """Return whether a route computes scores, vectors or tokens."""
    return COMPUTE_ROUTES.search(route) is not None


def updated_history(history: MetricsHistory, sample: MetricsSample) -> MetricsHistory:
    """Return the history with one more sample; a new history if the server has restarted."""
    if history.last is None or _total(sample) < _total(history.last) or sample.at_s <= history.last.at_s:
        return MetricsHistory(sample)
    return MetricsHistory(sample, (*history.points, _point_between(history.last, sample))[-MAX_POINTS:])


def _point_between(before: MetricsSample, after: MetricsSample) -> MetricsPoint:
    elapsed_s = after.at_s - before.at_s
    hits, misses = _increase(before, after, HITS), _increase(before, after, MISSES)
    latency_s = quantile({bound: count - before.buckets.get(bound, 0.0) for bound, count in after.buckets.items()})
    memory = after.sums.get(PROCESS_MEMORY, after.sums.get(CACHE_MEMORY))
    return MetricsPoint(
        at_s=after.at_s,
        requests_per_s=(_total(after) - _total(before)) / elapsed_s,
        latency_ms=None if latency_s is None else 1000 * latency_s,
        queue_items=after.sums.get(QUEUE),
        hit_percent=100 * hits / (hits + misses) if hits + misses else None,
        tokens_per_s=_increase(before, after, TOKENS) / elapsed_s,
        memory_mib=None if memory is None else memory / MIB,
    )


def _total(sample: MetricsSample) -> float:
    return sample.buckets.get(math.inf, 0.0)


def _increase(before: MetricsSample, after: MetricsSample, name: str) -> float:
    return max(0.0, after.sums.get(name, 0.0) - before.sums.get(name, 0.0))


def quantile(buckets: Mapping[float, float], share: float = LATENCY_QUANTILE) -> float | None:
    """Return a quantile of the request duration in seconds; None without requests.

    Source: Prometheus, `histogram_quantile`: linear interpolation within a bucket.
    """
    wanted = share * buckets.get(math.inf, 0.0)
    if not wanted:
        return None
    below_s, below = 0.0, 0.0
    for bound_s in sorted(buckets):
        if buckets[bound_s] >= wanted:
            if math.isinf(bound_s):
                return below_s
            return below_s + (bound_s - below_s) * (wanted - below) / (buckets[bound_s] - below)
        below_s, below = bound_s, buckets[bound_s]
    return below_s
