"""Reads a vLLM server's state from its metrics page. Pure: bytes to numbers.

Only lines of known metrics are parsed, and only so many: a page may have thousands, and a failing server may send anything.

Source: vLLM 0.32, `v1/metrics/loggers.py`; the Prometheus text format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from shortlist.telemetry.vllm_state import VllmState

Merge = Callable[[Iterable[float]], float]

METRICS: Final[dict[str, tuple[str, Merge]]] = {
    "vllm:kv_cache_usage_perc": ("kv_cache_usage", max),
    "vllm:prefix_cache_queries_total": ("prefix_cache_queries", sum),
    "vllm:prefix_cache_hits_total": ("prefix_cache_hits", sum),
    "vllm:num_requests_running": ("running_requests", sum),
    "vllm:num_requests_waiting": ("waiting_requests", sum),
}
"""Attributes of `VllmState` by vLLM's name, and how the values of several engines (data parallelism) become one."""

MAX_LINES: Final = 512
"""Lines that are parsed: one per metric and engine."""

MAX_LINE_BYTES: Final = 1024


def state_of(content: bytes) -> VllmState | None:
    """Return the state that a metrics page describes; None if the page is malformed or names none of the metrics."""
    lines = [line for line in content.splitlines() if _is_known(line)]
    if not lines or len(lines) > MAX_LINES or max(map(len, lines)) > MAX_LINE_BYTES:
        return None
    values: dict[str, list[float]] = {}
    try:
        for name, value in _samples(b"\n".join(lines).decode()):
            values.setdefault(name, []).append(value)
    except (ValueError, LookupError):  # UnicodeDecodeError is a ValueError
        return None
    if not all(math.isfinite(value) and value >= 0 for found in values.values() for value in found):
        return None
    return VllmState(**{attribute: merge(values[name]) for name, (attribute, merge) in METRICS.items() if name in values})


_NAMES: Final = frozenset(name.encode() for name in METRICS)


def _is_known(line: bytes) -> bool:
    return line.partition(b"{")[0].partition(b" ")[0] in _NAMES


def _samples(text: str) -> Iterator[tuple[str, float]]:
    for family in text_string_to_metric_families(text + "\n"):
        for sample in family.samples:
            yield sample.name, sample.value
