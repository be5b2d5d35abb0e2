"""The memory of all request bodies that are being read and all answers that are being written."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from shortlist import allocator
from shortlist.errors import Overloaded, RequestTooLarge, Shortage

RETRY_S: Final = 1.0
"""`Retry-After` in seconds: bodies and answers come and go quickly."""

LARGE_BYTES: Final = 1 << 18
"""A request of this size and more leaves much free memory, which the allocator keeps unless it is told to return it."""

TRIM_S: Final = 1.0
"""Seconds after a large request before free memory is returned to the system; those that end meanwhile share the call."""


class MemoryBudget:
    """Counts bytes up to a limit.

    Args:
        max_bytes: The limit.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._released = asyncio.Event()
        self._trims_soon = False

    def claim(self) -> Claim:
        """Return an empty claim."""
        return Claim(self)

    def change(self, num_bytes: int) -> None:
        """Add to what is claimed, or take from it."""
        self.num_bytes += num_bytes
        if num_bytes < 0:
            self._released.set()
            self._released = asyncio.Event()
        if num_bytes <= -LARGE_BYTES and not self._trims_soon:
            self._trims_soon = True
            asyncio.get_running_loop().call_later(TRIM_S, self._trim)

    def _trim(self) -> None:
        self._trims_soon = False
        asyncio.get_running_loop().run_in_executor(None, allocator.trim)

    async def wait(self) -> None:
        """Wait until something is released."""
        await self._released.wait()


class Claim:
    """The bytes of one request. A context manager: exit releases them."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._num_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._budget.change(-self._num_bytes)
        self._num_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Claim more bytes.

        Raises:
            Overloaded: they do not fit now.
            RequestTooLarge: they never fit.
        """
        self._check(num_bytes)
        if self._budget.num_bytes + num_bytes > self._budget.max_bytes:
            message = "The server is busy: its bodies and answers would not fit into memory. Try again later."
            raise Overloaded(message, retry_after_s=RETRY_S, shortage=Shortage.BYTES)
        self._become(self._num_bytes + num_bytes)

    async def add_when_free(self, num_bytes: int, timeout_s: float) -> None:
        """Claim more bytes as soon as they fit.

        Raises:
            Overloaded: they do not fit in time.
            RequestTooLarge: they never fit.
        """
        self._check(num_bytes)
        try:
            async with asyncio.timeout(timeout_s):
                while self._budget.num_bytes + num_bytes > self._budget.max_bytes:
                    await self._budget.wait()
        except TimeoutError:
            pass
        self.add(num_bytes)

    def _check(self, num_bytes: int) -> None:
        if self._num_bytes + num_bytes > self._budget.max_bytes:
            raise RequestTooLarge(
                f"The body and its answer do not fit into {self._budget.max_bytes} bytes of memory (max_transfer_bytes)."
            )

    def _become(self, num_bytes: int) -> None:
        self._budget.change(num_bytes - self._num_bytes)
        self._num_bytes = num_bytes
