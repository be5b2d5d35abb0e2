"""The GPUs that our engines compute on, for the metrics; each is asked in the process that has it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from shortlist.engine.base import Engine, beside, parts_of
from shortlist.errors import EngineUnavailable
from shortlist.telemetry import Metrics
from shortlist.telemetry.gpu import GpuCollector, GpuReading

READING_S: Final = 1.0
"""A process that takes longer to say how its GPU is has worse problems."""

_GPU: Final = "cuda"


def show_gpus(metrics: Metrics, engines: Sequence[Engine]) -> None:
    """Have the metrics show the GPUs of these engines; not a vLLM's, of which a look from here would take memory."""
    if not any(part.info.device.startswith(_GPU) for engine in engines for part in parts_of(engine)):
        return
    from shortlist.engine.device import gpu_readings

    def read() -> list[GpuReading]:
        parts = {part.info.device: part for engine in engines for part in parts_of(engine)}
        readings: list[GpuReading] = []
        for name in sorted(name for name in parts if name.startswith(_GPU)):
            with suppress(EngineUnavailable):
                readings += beside(parts[name], partial(gpu_readings, [name]), timeout_s=READING_S)
        return readings

    metrics.registry.register(GpuCollector(read))
