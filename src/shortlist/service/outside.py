"""What the served engines stand on beside this process: its GPUs, for the metrics."""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.engine.base import Engine
from shortlist.telemetry import Metrics
from shortlist.telemetry.outside import GpuCollector, GpuReading


def show_gpus(metrics: Metrics, engines: Sequence[Engine]) -> None:
    """Have the metrics show the GPUs that engines of this process compute on.

    A child's GPU is the child's: to look at it from here would take memory of it.
    """
    devices = sorted({each.info.device for each in engines if each.info.device.startswith("cuda")})
    if not devices:
        return
    from shortlist.engine.device import gpu_readings

    def read() -> list[GpuReading]:
        return gpu_readings(devices)

    metrics.registry.register(GpuCollector(read))
