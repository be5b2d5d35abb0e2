"""A clock that moves only when there is nothing left to do at its moment: what takes time takes it by agreement alone.

For tests that promise something of speed. On a real clock they would measure the machine and whatever else it does.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar
from unittest import mock

P = ParamSpec("P")
T = TypeVar("T")

LOOPBACK_S: Final = 0.002
"""How long a loop with sockets looks at them before it moves the clock. Real seconds; what one end of a connection has sent is at
the other end in microseconds, and the two share this loop."""


class _Leaper(selectors.DefaultSelector):
    """Where a real one would sleep, this one moves the clock."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        is_busy = timeout is not None and timeout <= 0
        has_sockets = len(self.get_map()) > 1  # the loop's own wakes it from other threads
        found = super().select(LOOPBACK_S if has_sockets and not is_busy else 0)
        if found or is_busy:
            return found
        if timeout is None:
            raise RuntimeError("all tasks wait, and no timer is set")
        self.now_s += timeout
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop on a simulated clock. What others would do in a thread is done at once, and takes no time."""

    def __init__(self) -> None:
        self._leaper = _Leaper()
        super().__init__(self._leaper)

    def time(self) -> float:
        return self._leaper.now_s

    def block(self, seconds: float) -> None:
        """Do as `time.sleep` does: time passes, and nothing else happens."""
        self._leaper.now_s += seconds

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        async def call() -> Any:
            return func(*args)

        return self.create_task(call())


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end on a simulated clock, which `time.monotonic`, `time.perf_counter` and `time.sleep` know too."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SimulatedLoop)
        with mock.patch.multiple(time, monotonic=loop.time, perf_counter=loop.time, sleep=loop.block):
            return runner.run(work)


def simulated(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Decorate a test that is to run on a simulated clock. Its fixtures do not use the event loop."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return simulate(test(*args, **kwargs))

    return run
