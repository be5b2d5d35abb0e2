"""The contract of doorbells: they wake workers, and nothing else.

A ring says that jobs may be due. It reaches one free slot of one worker, which then takes jobs until none is due. A ring may be
lost, late or repeated: jobs depend on their records only, and `Sweeper` rings again for a job that stays due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

RING_TIMEOUT_S: Final = 1.0
"""Timeout of a ring; it is lost afterwards."""


class Doorbell(Protocol):
    """A way to wake a worker. Servers ring, workers listen."""

    def ring(self) -> None:
        """Wake a free slot of a worker. Blocks for up to `RING_TIMEOUT_S`; raises nothing, as a ring may be lost."""
        ...

    def listen(self, answer: Callable[[], None], *, on_stop: Callable[[], None], concurrency: int) -> None:
        """Call `answer` for every ring until SIGTERM or SIGINT; then wait for running calls.

        Connects again whenever Redis has been away. Must be called in the main thread.

        Args:
            answer: Called in one of several threads.
            on_stop: Called when the signal arrives, in the main thread.
            concurrency: The number of threads.
        """
        ...

    def close(self) -> None:
        """Close every connection."""
        ...
