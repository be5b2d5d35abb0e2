"""Two samples of /metrics to the values of the status tab. Pure."""

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

WORK: Final = re.compile(r"rank|embed|score|classify|pooling|predict|invocations|similarity|vectors|tokenize|decode")
"""What routes are called whose requests ask for scores, vectors or tokens. The page's own are not among them."""

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
        at_s: When, on a clock that only goes forward.
        sums: Every series that is read here, summed over its labels; what the server does not tell is not in it.
        finished: How many requests for work took at most so many seconds, since the start.
    """

    at_s: float
    sums: Mapping[str, float]
    finished: Mapping[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPoint:
    """What happened between two samples; None where nothing did, or the server does not say. Units: as named."""

    at_s: float
    requests_per_s: float
    latency_ms: float | None
    queue_items: float | None
    hit_percent: float | None
    tokens_per_s: float
    memory_mib: float | None


@dataclass(frozen=True, slots=True)
class MetricsHistory:
    """What was seen so far: the last sample, and the readings up to it."""

    last: MetricsSample | None = None
    points: Sequence[MetricsPoint] = field(default_factory=tuple)

    @property
    def is_ready(self) -> bool | None:
        """Whether the server takes requests; None if it does not say."""
        ready = None if self.last is None else self.last.sums.get(READY)
        return None if ready is None else ready == 1

    @property
    def has_process_memory(self) -> bool:
        """Whether the memory is that of the process, and not only of the cache."""
        return self.last is not None and PROCESS_MEMORY in self.last.sums


def read_sample(text: str, at_s: float) -> MetricsSample:
    """Parse a text in Prometheus' format.

    Raises:
        ValueError: it is in another format.
    """
    sums: dict[str, float] = {}
    finished: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for series in family.samples:
            if series.name == f"{DURATION}_bucket" and is_work(series.labels.get("route", "")):
                bound = float(series.labels["le"])
                finished[bound] = finished.get(bound, 0.0) + series.value
            elif series.name in {TOKENS, HITS, MISSES, QUEUE, READY, PROCESS_MEMORY, CACHE_MEMORY}:
                sums[series.name] = sums.get(series.name, 0.0) + series.value
    return MetricsSample(at_s=at_s, sums=sums, finished=finished)


def is_work(route: str) -> bool:
    """Return whether requests of this route ask for scores, vectors or tokens."""
    return WORK.search(route) is not None


def updated_history(watch: MetricsHistory, sample: MetricsSample) -> MetricsHistory:
    """Return what was seen, with one more sample; from the beginning if the server has restarted."""
    if watch.last is None or _total(sample) < _total(watch.last) or sample.at_s <= watch.last.at_s:
        return MetricsHistory(sample)
    return MetricsHistory(sample, (*watch.points, _reading(watch.last, sample))[-MAX_POINTS:])


def _reading(before: MetricsSample, after: MetricsSample) -> MetricsPoint:
    elapsed_s = after.at_s - before.at_s
    hits, misses = _grown(before, after, HITS), _grown(before, after, MISSES)
    latency_s = quantile({bound: count - before.finished.get(bound, 0.0) for bound, count in after.finished.items()})
    memory = after.sums.get(PROCESS_MEMORY, after.sums.get(CACHE_MEMORY))
    return MetricsPoint(
        at_s=after.at_s,
        requests_per_s=(_total(after) - _total(before)) / elapsed_s,
        latency_ms=None if latency_s is None else 1000 * latency_s,
        queue_items=after.sums.get(QUEUE),
        hit_percent=100 * hits / (hits + misses) if hits + misses else None,
        tokens_per_s=_grown(before, after, TOKENS) / elapsed_s,
        memory_mib=None if memory is None else memory / MIB,
    )


def _total(sample: MetricsSample) -> float:
    return sample.finished.get(math.inf, 0.0)


def _grown(before: MetricsSample, after: MetricsSample, name: str) -> float:
    return max(0.0, after.sums.get(name, 0.0) - before.sums.get(name, 0.0))


def quantile(finished: Mapping[float, float], share: float = LATENCY_QUANTILE) -> float | None:
    """Return the seconds within which this share of the requests was answered; None if there were none.

    Source: Prometheus, `histogram_quantile`: a bucket's requests are taken to be spread evenly over it.
    """
    wanted = share * finished.get(math.inf, 0.0)
    if not wanted:
        return None
    below_s, below = 0.0, 0.0
    for bound_s in sorted(finished):
        if finished[bound_s] >= wanted:
            if math.isinf(bound_s):
                return below_s
            return below_s + (bound_s - below_s) * (wanted - below) / (finished[bound_s] - below)
        below_s, below = bound_s, finished[bound_s]
    return below_s
