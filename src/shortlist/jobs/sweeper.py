"""The sweep: every server and every worker looks for ended leases, late jobs and lost rings about once a second."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from shortlist.errors import JobsUnavailable
from shortlist.jobs.doorbell import Doorbell
from shortlist.jobs.job import Swept
from shortlist.jobs.records import JobStore
from shortlist.telemetry import logger

SWEEP_S: Final = 1.0


class Ringer:
    """Rings a doorbell without waiting for it.

    Args:
        bell: The doorbell, whose calls block.
    """

    def __init__(self, bell: Doorbell) -> None:
        self._bell = bell
        self._ringing: set[asyncio.Task[None]] = set()

    def ring(self) -> None:
        """Ring in a thread."""
        task = asyncio.create_task(asyncio.to_thread(self._bell.ring))
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)

    async def close(self) -> None:
        """Wait for rings, and close the doorbell."""
        await asyncio.gather(*self._ringing, return_exceptions=True)
        await asyncio.to_thread(self._bell.close)


async def sweep_forever(store: JobStore, ringer: Ringer, on_swept: Callable[[Swept | None], None]) -> None:
    """Sweep until cancelled. `on_swept` gets what each sweep found, or None when it failed."""
    from redis.exceptions import ResponseError

    is_up = True
    while True:
        try:
            swept = await store.sweep()
        except JobsUnavailable:
            if is_up:
                logger.warning("jobs: Redis does not answer; no job is accepted or taken until it does")
            is_up = False
            on_swept(None)
        except ResponseError:
            logger.exception("jobs: the sweep failed; ended leases wait until it works again")
            on_swept(None)
        else:
            if not is_up:
                logger.warning("jobs: Redis is back")
            is_up = True
            if swept.must_ring:
                ringer.ring()
            on_swept(swept)
        await asyncio.sleep(SWEEP_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads processes that started together
