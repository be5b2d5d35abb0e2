"""What the served engines stand on beside this process: GPUs and upstream servers, for the metrics."""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.engine.base import Engine, Upstreamed
from shortlist.telemetry import Metrics
from shortlist.telemetry.outside import GpuCollector, GpuReading, UpstreamCollector


def show_outside(metrics: Metrics, engines: Sequence[Engine]) -> None:
    """Have the metrics show the GPUs that engines of this process compute on, and the servers that others have compute."""
    metrics.registry.register(UpstreamCollector(lambda: {url: well for engine in engines for url, well in _of(engine).items()}))
    # A child's GPU is the child's: to look at it from here would take memory of it.
    devices = sorted({each.info.device for each in engines if each.info.device.startswith("cuda") and not _of(each)})
    if not devices:
        return
    from shortlist.engine.device import gpu_readings

    def read() -> list[GpuReading]:
        return gpu_readings(devices)

    metrics.registry.register(GpuCollector(read))


def _of(engine: Engine) -> dict[str, bool]:
    return dict(engine.upstreams()) if isinstance(engine, Upstreamed) else {}
