"""Server metrics besides requests: event loop lag, GPUs, and the trace exporter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from shortlist.errors import BadSetting, EngineUnavailable
from shortlist.installation import install_hint
from shortlist.scheduler.served_model import ServedModel
from shortlist.telemetry import Metrics, logger
from shortlist.telemetry.gpu import GpuCollector, GpuReading
from shortlist.telemetry.traces import NO_TRACING, Tracing

PERIOD_S: Final = 0.05
LONG_S: Final = 1.0
"""Lag that is logged: blocking code belongs into a thread."""

_SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")
_NANO: Final = 1e-9


async def watch(metrics: Metrics) -> None:
    """Measure event loop lag, its cause and the number of tasks, until cancelled."""
    while True:
        asleep_s, waited_s = time.monotonic(), processor_wait_s()
        await asyncio.sleep(PERIOD_S)
        lag_s = max(0.0, time.monotonic() - asleep_s - PERIOD_S)
        blocked_s = max(0.0, lag_s - (processor_wait_s() - waited_s))
        metrics.loop_lag.observe(lag_s)
        metrics.loop_blocked.observe(blocked_s)
        metrics.tasks.set(len(asyncio.all_tasks()))
        if blocked_s > LONG_S:
            logger.warning("event loop was blocked", extra={"seconds": round(blocked_s, 3)})


def processor_wait_s() -> float:
    """Return the total time in seconds that this thread was runnable without a CPU; 0 where the system does not report it.

    Source: Linux, Documentation/scheduler/sched-stats, "/proc/<pid>/schedstat": the second number, in nanoseconds.
    """
    try:
        return int(_SCHEDSTAT.read_bytes().split()[1]) * _NANO
    except (OSError, IndexError):
        return 0.0


READING_TIMEOUT_S: Final = 1.0
"""Timeout of one GPU reading in seconds."""

_GPU: Final = "cuda"


def show_gpus(metrics: Metrics, served_models: Sequence[ServedModel]) -> None:
    """Register GPU metrics for the engines of these models, but for vLLM: reading its GPU here would allocate memory on it."""
    if not any(part.info.device.startswith(_GPU) for served in served_models for part in served.engine.replicas):
        return
    from shortlist.engine.device import gpu_readings

    def read() -> list[GpuReading]:
        parts = {part.info.device: part for served in served_models for part in served.engine.replicas}
        readings: list[GpuReading] = []
        for name in sorted(name for name in parts if name.startswith(_GPU)):
            with suppress(EngineUnavailable):
                readings += parts[name].run_in_engine(partial(gpu_readings, [name]), timeout_s=READING_TIMEOUT_S)
        return readings

    metrics.registry.register(GpuCollector(read))


def tracing_to(endpoint: str | None, *, sample_ratio: float) -> Tracing:
    """Return the trace exporter; without an endpoint, one that exports nothing.

    Args:
        endpoint: The collector's address, as http://HOST:4318.
        sample_ratio: Share of requests that are traced; the trace context of a request overrides it.

    Raises:
        BadSetting: the OpenTelemetry library is not installed, or is disabled.
    """
    if endpoint is None:
        return NO_TRACING
    try:
        from shortlist.telemetry.otlp import OtlpTracing
    except ModuleNotFoundError as error:
        raise BadSetting(f"otlp_endpoint (--otlp-endpoint) needs {error.name}: {install_hint('otel')}") from None
    return OtlpTracing(endpoint, sample_ratio=sample_ratio)
