"""What vLLM servers report of themselves, re-exported as `shortlist_upstream_*`. A scrape reads memory only.

It asks no server: `engine.vllm` reads their metrics in the background. A value that is unknown or stale has no series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

Family = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmState:
    """One vLLM server at one moment; None for values that it does not report.

    Attributes:
        kv_cache_usage: Share of the KV cache in use, 0..1; of several engines, the fullest one's.
        prefix_cache_queries: Tokens looked up in the prefix cache since its start.
        prefix_cache_hits: Tokens found there.
        running_requests: Prompts in its running batches.
        waiting_requests: Prompts in its queue.
    """

    kv_cache_usage: float | None = None
    prefix_cache_queries: float | None = None
    prefix_cache_hits: float | None = None
    running_requests: float | None = None
    waiting_requests: float | None = None


ReadState = Callable[[], VllmState | None]
"""Returns the last known state from memory, or None if there is none. Called at scrape time, from any thread."""


class VllmStateCollector(Collector):
    """Exports the state of every vLLM server that was added."""

    def __init__(self) -> None:
        self._reads: dict[tuple[str, str], ReadState] = {}

    def add(self, model: str, upstream: str, read: ReadState) -> None:
        """Export the state of a server; one with the same labels is replaced."""
        self._reads[model, upstream] = read

    def describe(self) -> Iterator[Family]:
        """Yield the names."""
        yield from _families().values()

    def collect(self) -> Iterator[Family]:
        """Yield every known value."""
        families = _families()
        for labels, read in tuple(self._reads.items()):
            state = read()
            for name, family in families.items():
                value = getattr(state, name, None)
                if value is not None:
                    family.add_metric(labels, value)
        yield from families.values()


def _families() -> dict[str, Family]:
    """Return an empty family for every attribute of `VllmState`."""
    labels = ("model", "upstream")

    def gauge(name: str, text: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"shortlist_upstream_{name}", text, labels=labels)

    def counter(name: str, text: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"shortlist_upstream_{name}", text, labels=labels)

    return {
        "kv_cache_usage": gauge("kv_cache_usage_ratio", "Share of the vLLM server's KV cache in use, 0..1."),
        "prefix_cache_queries": counter("prefix_cache_queries", "Tokens looked up in the vLLM server's prefix cache."),
        "prefix_cache_hits": counter("prefix_cache_hits", "Tokens found in the vLLM server's prefix cache."),
        "running_requests": gauge("running_requests", "Prompts in the vLLM server's running batches, of all its clients."),
        "waiting_requests": gauge("waiting_requests", "Prompts in the vLLM server's queue, of all its clients."),
    }
