"""How long the event loop keeps people waiting: a blocked loop delays every request, whatever it is about."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from shortlist.telemetry import Metrics, logger

PERIOD_S: Final = 0.05
LONG_S: Final = 1.0
"""Worth a log line: whatever did this belongs into a thread."""

_SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")
_NANO: Final = 1e-9


async def watch(metrics: Metrics) -> None:
    """Measure for ever how much later than asked for the loop comes back, why, and how many tasks it has."""
    while True:
        asleep_s, starved_s = time.monotonic(), processor_wait_s()
        await asyncio.sleep(PERIOD_S)
        lag_s = max(0.0, time.monotonic() - asleep_s - PERIOD_S)
        blocked_s = max(0.0, lag_s - (processor_wait_s() - starved_s))
        metrics.loop_lag.observe(lag_s)
        metrics.loop_blocked.observe(blocked_s)
        metrics.tasks.set(len(asyncio.all_tasks()))
        if blocked_s > LONG_S:
            logger.warning("event loop was blocked", extra={"seconds": round(blocked_s, 3)})


def processor_wait_s() -> float:
    """Return how long this thread was ready to run and had no processor, so far; 0 where the system does not tell.

    Source: Linux, Documentation/scheduler/sched-stats, "/proc/<pid>/schedstat": the second number, in nanoseconds.
    """
    try:
        return int(_SCHEDSTAT.read_bytes().split()[1]) * _NANO
    except (OSError, IndexError):
        return 0.0
