"""Restarts a failed engine: at once, then with exponential backoff."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from shortlist.errors import EngineUnavailable, ModelRefused, ServiceError
from shortlist.scheduler.served_model import ModelState, ServedModel
from shortlist.telemetry import logger

FIRST_PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 60.0

HEALTHY_S: Final = 300.0
"""An engine that ran this long was healthy: its next failure restarts it at once."""


class Backoff:
    """Exponential backoff: no pause, then 1 s, doubled for every attempt up to 60 s; reset after a healthy period."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._last_attempt_s = float("-inf")

    def next_pause_s(self, now_s: float) -> float:
        """Return the pause in seconds before the next attempt, and count the attempt."""
        if now_s - self._last_attempt_s > HEALTHY_S:
            self._next_s = 0.0
        pause_s = self._next_s
        self._next_s = min(MAX_PAUSE_S, max(FIRST_PAUSE_S, 2 * pause_s))
        self._last_attempt_s = now_s + pause_s
        return pause_s


async def restart_engine(
    served: ServedModel,
    test: Callable[[ServedModel], Awaitable[None]],
    backoff: Backoff,
) -> None:
    """Restart and self-test an engine until both succeed; then its dispatcher can run again. Returns early if it is unloaded.

    Raises:
        ModelRefused: the restarted engine failed its self-test and must not serve.
    """
    extra = {"model": served.name}
    while True:
        await asyncio.sleep(backoff.next_pause_s(time.monotonic()))
        logger.warning("engine restarting", extra=extra)
        try:
            await served.restart()
            if served.state is not ModelState.LOADED:
                return
            await test(served)
        except ModelRefused:
            raise
        except (ServiceError, OSError, RuntimeError) as error:
            served.dispatcher.fail(EngineUnavailable("The engine restart failed; trying again."))
            logger.error("engine restart failed", extra={**extra, "error": type(error).__name__})
        else:
            break
    served.dispatcher.resume()
    served.metrics.engine_restarts.labels(served.name).inc()
