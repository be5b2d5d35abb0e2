"""How long the event loop keeps people waiting: a blocked loop delays every request, whatever it is about."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from shortlist.telemetry import Metrics, logger

PERIOD_S: Final = 0.05
LONG_S: Final = 1.0
"""Worth a log line: whatever did this belongs into a thread."""


async def watch(metrics: Metrics) -> None:
    """Measure for ever how much later than asked for the loop comes back, and how many tasks it has."""
    while True:
        asleep_s = time.monotonic()
        await asyncio.sleep(PERIOD_S)
        lag_s = max(0.0, time.monotonic() - asleep_s - PERIOD_S)
        metrics.loop_lag.observe(lag_s)
        metrics.tasks.set(len(asyncio.all_tasks()))
        if lag_s > LONG_S:
            logger.warning("event loop was blocked", extra={"seconds": round(lag_s, 3)})
