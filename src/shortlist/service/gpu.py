"""The GPUs that engines of this process compute on, for the metrics."""

from __future__ import annotations

from collections.abc import Iterable

from shortlist.telemetry import Metrics
from shortlist.telemetry.gpu import GpuCollector, GpuReading


def show_gpus(metrics: Metrics, devices: Iterable[str]) -> None:
    """Have the metrics show the GPUs among these devices; not a child's, of which a look from here would take memory."""
    names = sorted({name for name in devices if name.startswith("cuda")})
    if not names:
        return
    from shortlist.engine.device import gpu_readings

    def read() -> list[GpuReading]:
        return gpu_readings(names)

    metrics.registry.register(GpuCollector(read))
