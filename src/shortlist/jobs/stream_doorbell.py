"""A doorbell on a Redis stream: no library but Redis' own, and a tenth of Celery's latency."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from shortlist.jobs.connection import connect_blocking
from shortlist.jobs.doorbell import RING_TIMEOUT_S
from shortlist.jobs.transitions import PREFIX
from shortlist.telemetry import logger

if TYPE_CHECKING:
    from redis import Redis

STREAM: Final = f"{PREFIX}jobs:bell"
GROUP: Final = "workers"

MAX_RINGS: Final = 100
"""Rings that are kept; each of them says the same."""

BLOCK_MS: Final = 1000
"""Longest wait for a ring before a slot looks whether the worker stops."""

PAUSE_S: Final = 0.5
"""Pause before a slot connects again."""


class StreamDoorbell:
    """Implements `Doorbell`.

    A ring is acknowledged before it is answered: if the worker dies, the sweep of another process rings for what is due.

    Args:
        url: The address of Redis.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._bell = connect_blocking(url, timeout_s=RING_TIMEOUT_S)
        self._is_stopping = threading.Event()

    def ring(self) -> None:
        """Append a ring to the stream."""
        from redis.exceptions import RedisError

        try:
            self._bell.xadd(STREAM, {"ring": 1}, maxlen=MAX_RINGS, approximate=False)
        except (RedisError, OSError) as error:
            logger.warning("jobs: the doorbell cannot ring", extra={"error": type(error).__name__})

    def listen(self, answer: Callable[[], None], *, on_stop: Callable[[], None], concurrency: int) -> None:
        """Answer rings in threads until SIGTERM or SIGINT."""

        def stop(*_: object) -> None:
            self._is_stopping.set()
            on_stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        slots = [
            threading.Thread(target=self._answer_all, args=(answer, f"slot-{number}"), name=f"jobs {number}")
            for number in range(concurrency)
        ]
        for slot in slots:
            slot.start()
        for slot in slots:
            slot.join()

    def close(self) -> None:
        """Close the connections of rings."""
        self._bell.close()

    def _answer_all(self, answer: Callable[[], None], slot: str) -> None:
        """Answer rings of one slot. A broken connection, or a Redis without the group, is tried again."""
        from redis.exceptions import RedisError

        client = connect_blocking(self._url, timeout_s=RING_TIMEOUT_S + BLOCK_MS / 1000)
        with client:
            while not self._is_stopping.is_set():
                try:
                    is_ringing = self._next_ring(client, slot)
                except (RedisError, OSError):
                    self._is_stopping.wait(PAUSE_S)
                    continue
                if is_ringing:
                    answer()

    @staticmethod
    def _next_ring(client: Redis, slot: str) -> bool:
        """Wait for a ring, and acknowledge it. The group is made where it is missing: a Redis may be new."""
        from redis.exceptions import ResponseError

        try:
            found = client.xreadgroup(GROUP, slot, {STREAM: ">"}, count=1, block=BLOCK_MS, noack=True)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
            return False
        return bool(found)
