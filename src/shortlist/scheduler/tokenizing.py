"""Runs tokenizers in worker threads. Abandoned work stops at its next piece, and its permit is held until then."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

from shortlist.errors import DeadlineExceeded
from shortlist.scheduler.dispatcher import LATE
from shortlist.text.reading import stop

T = TypeVar("T")

THREADS: Final = ThreadPoolExecutor(os.cpu_count(), "shortlist-tokenize")
"""Their number limits what tokenizers do at once. They start with the first work."""


async def in_thread(function: Callable[[], T], timeout_s: float | None) -> T:
    """Return the result of a function that tokenizes.

    A cancelled call ends when the thread has noticed, so that permits around it count threads that still run.

    Args:
        function: Called in a worker thread.
        timeout_s: Time until the deadline.

    Raises:
        DeadlineExceeded: the deadline passed.
        The errors of the function.
    """
    context, abandoned, has_started = copy_context(), threading.Event(), threading.Event()
    context.run(stop.set, abandoned)

    def call() -> T:
        has_started.set()
        return context.run(function)

    result = asyncio.get_running_loop().run_in_executor(THREADS, call)
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(result)
    except TimeoutError:
        await _abandon(result, abandoned, has_started)
        raise DeadlineExceeded(LATE) from None
    except asyncio.CancelledError:
        await _abandon(result, abandoned, has_started)
        raise


async def _abandon(result: asyncio.Future[T], abandoned: threading.Event, has_started: threading.Event) -> None:
    abandoned.set()
    if has_started.is_set():
        await asyncio.wait([result])
    else:
        result.cancel()
