"""Restarts a failed engine: at once, then with exponential backoff."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from shortlist.errors import EngineUnavailable, ModelRefused, ServiceError
from shortlist.scheduler.served_model import ServedModel
from shortlist.telemetry import logger

FIRST_PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 60.0

HEALTHY_S: Final = 300.0
"""An engine that held so long was well; when it goes again, it is brought back at once again."""


class Backoff:
    """How long to wait before the next attempt: not at all, then twice as long every time, until it has been calm."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._last_attempt_s = float("-inf")

    def next_pause_s(self, now_s: float) -> float:
        """Return how many seconds to wait from now, and count the attempt."""
        if now_s - self._last_attempt_s > HEALTHY_S:
            self._next_s = 0.0
        pause_s = self._next_s
        self._next_s = min(MAX_PAUSE_S, max(FIRST_PAUSE_S, 2 * pause_s))
        self._last_attempt_s = now_s + pause_s
        return pause_s


async def restart_engine(
    served: ServedModel,
    restart: Callable[[], Awaitable[None]],
    test: Callable[[ServedModel], Awaitable[None]],
    backoff: Backoff,
) -> None:
    """Restart a stack's engine and test it, as often as it takes; its dispatcher can be run again afterwards.

    Raises:
        ModelRefused: what came back does not pass its test; it must not be served.
    """
    where = {"model": served.name}
    while True:
        await asyncio.sleep(backoff.next_pause_s(time.monotonic()))
        logger.warning("engine is restarted", extra=where)
        try:
            await restart()
            await test(served)
        except ModelRefused:
            raise
        except (ServiceError, OSError, RuntimeError) as error:
            served.dispatcher.fail(EngineUnavailable("The engine could not be restarted yet."))
            logger.error("engine could not be restarted", extra={**where, "error": type(error).__name__})
        else:
            break
    served.dispatcher.resume()
    served.metrics.engine_restarts.labels(served.name).inc()
