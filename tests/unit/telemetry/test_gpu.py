"""GPUs are read at scrape time; without GPUs there are no metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from shortlist.telemetry.gpu import GpuCollector, GpuReading


def shown(collector: GpuCollector) -> list[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def reading(busy: float | None) -> GpuReading:
    return GpuReading(device="cuda:0", used_bytes=3, total_bytes=8, busy=busy)


def test_gpu_metrics_are_read_at_scrape_time() -> None:
    readings = [[reading(0.25)], [reading(0.5), GpuReading(device="cuda:1", used_bytes=1, total_bytes=8, busy=0.0)]]
    registry = CollectorRegistry()
    registry.register(GpuCollector(lambda: readings.pop(0)))
    assert registry.get_sample_value("shortlist_gpu_busy_ratio", {"device": "cuda:0"}) == 0.25
    assert registry.get_sample_value("shortlist_gpu_memory_used_bytes", {"device": "cuda:1"}) == 1


def test_gpu_without_utilisation_has_memory() -> None:
    assert shown(GpuCollector(lambda: [reading(None)])) == [
        'shortlist_gpu_memory_used_bytes{device="cuda:0"} 3.0',
        'shortlist_gpu_memory_total_bytes{device="cuda:0"} 8.0',
    ]


def test_without_a_gpu_nothing_is_shown() -> None:
    assert shown(GpuCollector(list)) == []


def test_registering_reads_no_gpu() -> None:
    asked: list[str] = []

    def gpus() -> list[GpuReading]:
        asked.append("gpu")
        return []

    registry = CollectorRegistry()
    registry.register(GpuCollector(gpus))
    assert asked == []
