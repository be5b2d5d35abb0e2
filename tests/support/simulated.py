"""A clock that moves only when there is nothing left to do at its moment: what takes time takes it by agreement alone.

For tests that promise something of speed. On a real clock they would measure the machine and whatever else it does.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")


class _Leaper(selectors.DefaultSelector):
    """Where a real one would sleep, this one moves the clock."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing would ever happen")
        self.now_s += max(0.0, timeout)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop on a simulated clock. What others would do in a thread is done at once, and takes no time."""

    def __init__(self) -> None:
        self._leaper = _Leaper()
        super().__init__(self._leaper)

    def time(self) -> float:
        return self._leaper.now_s

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        async def call() -> Any:
            return func(*args)

        return self.create_task(call())


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end on a simulated clock, which `time.monotonic` reads too."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner, mock.patch.object(time, "monotonic", runner.get_loop().time):
        return runner.run(work)
