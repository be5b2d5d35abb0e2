"""GPU memory and utilisation, read at scrape time by a function that the engine provides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One device at one moment.

    Attributes:
        device: Its name, such as cuda:0.
        used_bytes: Memory that is taken, by whichever process.
        total_bytes: Memory that it has.
        busy: Share of the last moments in which it computed, 0..1; None if unknown.
    """

    device: str
    used_bytes: int
    total_bytes: int
    busy: float | None


ReadGpus = Callable[[], Sequence[GpuReading]]


class GpuCollector(Collector):
    """Exports the readings that `read` returns."""

    def __init__(self, read: ReadGpus) -> None:
        self._read = read

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the names without reading a device."""
        yield from _families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every reading."""
        used, total, busy = _families()
        for reading in self._read():
            used.add_metric([reading.device], reading.used_bytes)
            total.add_metric([reading.device], reading.total_bytes)
            if reading.busy is not None:
                busy.add_metric([reading.device], reading.busy)
        yield from (family for family in (used, total, busy) if family.samples)


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    def family(name: str, text: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"shortlist_gpu_{name}", text, labels=["device"])

    return (
        family("memory_used_bytes", "GPU memory in use by all processes, in bytes."),
        family("memory_total_bytes", "Total GPU memory in bytes."),
        family("busy_ratio", "Recent GPU utilization, 0..1; requires nvidia-ml-py."),
    )
