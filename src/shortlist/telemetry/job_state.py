"""The jobs in Redis, as the last sweep found them. A scrape reads memory only.

Every server exports the same values, since all of them share the jobs: aggregate with `max`, not with `sum`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

Family = CounterMetricFamily | GaugeMetricFamily

GAUGES: Final = {
    "waiting": "Jobs that wait for a worker.",
    "waiting_tokens": "Tokens of the jobs that wait, estimated from the size of their bodies.",
    "oldest_seconds": "Time for which the first of the waiting jobs could have been taken.",
    "running": "Jobs that workers hold.",
}
COUNTERS: Final = {
    "accepted": "Accepted jobs.",
    "attempts": "Jobs taken by workers, repeated attempts included.",
    "leases_expired": "Jobs whose worker ended or froze.",
}
ENDS: Final = ("succeeded", "failed", "cancelled", "expired")


class JobStateCollector(Collector):
    """Exports the last state; no series but `shortlist_jobs_up` while Redis does not answer."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}
        self._counts: Mapping[str, int] = {}
        self._is_up = False

    def update(self, *, waiting: int, waiting_tokens: int, oldest_s: float, running: int, counts: Mapping[str, int]) -> None:
        """Set the state. `counts` has totals by the names of `COUNTERS` and `ENDS`; missing ones are 0."""
        self._values = {
            "waiting": waiting,
            "waiting_tokens": waiting_tokens,
            "oldest_seconds": oldest_s,
            "running": running,
        }
        self._counts = counts
        self._is_up = True

    def lost(self) -> None:
        """Say that Redis does not answer."""
        self._is_up = False

    def describe(self) -> Iterator[Family]:
        """Yield the names."""
        yield from self._families()

    def collect(self) -> Iterator[Family]:
        """Yield every value."""
        yield from self._families()

    def _families(self) -> Iterator[Family]:
        up = GaugeMetricFamily("shortlist_jobs_up", "1 if the Redis of the jobs answered the last sweep.")
        up.add_metric((), float(self._is_up))
        yield up
        for name, text in GAUGES.items():
            gauge = GaugeMetricFamily(f"shortlist_jobs_{name}", text)
            if self._is_up:
                gauge.add_metric((), self._values[name])
            yield gauge
        for name, text in COUNTERS.items():
            counter = CounterMetricFamily(f"shortlist_jobs_{name}", text)
            if self._is_up:
                counter.add_metric((), self._counts.get(name, 0))
            yield counter
        ended = CounterMetricFamily("shortlist_jobs_ended", "Ended jobs.", labels=("status",))
        for name in ENDS if self._is_up else ():
            ended.add_metric((name,), self._counts.get(name, 0))
        yield ended
