"""The shared cache: a second cache level in a store that several servers share.

It never fails or delays a request. A lookup that times out is a miss. Writes happen in the background and are dropped when too
many wait. A failing store is skipped for a while, with one log line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final, Protocol, TypeVar

from shortlist.breaker import Breaker, BreakerState
from shortlist.scheduler.cache import Entry
from shortlist.scheduler.codec import decode, encode
from shortlist.telemetry import Metrics, logger

Returned = TypeVar("Returned")

MAX_WAITING: Final = 4096
"""Entries that may wait to be written; what comes beyond is dropped. At 4096 dimensions that is 64 MiB."""

WRITE_ENTRIES: Final = 256
"""Entries in one round trip of writing: large enough to be few, small enough to be done in time."""

BACKGROUND_TIMEOUT_S: Final = 1.0
"""Time of an operation that no request waits for: writing, the look at the start, the end."""

PROBE_KEY: Final = bytes(32)
"""What is looked up at the start; no digest is all zeros."""


class Store(Protocol):
    """Bytes under names, outside this process. Any method may raise anything, or never return."""

    async def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return what is kept under each name, None where there is nothing. One round trip."""
        ...

    async def write(self, values: Mapping[bytes, bytes]) -> int:
        """Keep these for a while; return how many of them were not taken. One round trip."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


class SharedCache:
    """The second level, as a request sees it.

    Args:
        store: Where entries are kept.
        timeout_s: How long a lookup may take.
        metrics: Where it is counted.
        location: What log lines call the store; holds no password.
        breaker: When to leave the store alone.
    """

    def __init__(
        self, store: Store, *, timeout_s: float, metrics: Metrics, location: str, breaker: Breaker | None = None
    ) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._location = location
        self._breaker = breaker or Breaker()
        self._waiting: dict[bytes, Entry] = {}
        self._writer: asyncio.Task[None] | None = None
        self._is_refused = False
        self._is_closed = False
        metrics.shared_cache_up.labels(location).set(1)

    @property
    def num_waiting(self) -> int:
        """Entries that wait to be written."""
        return len(self._waiting)

    async def start(self) -> None:
        """Look whether the store is there, and say so in the log if it is not. Never raises, and takes a second at most."""
        answered = await self._attempt("read", partial(self._store.read, [PROBE_KEY]), BACKGROUND_TIMEOUT_S)
        if isinstance(answered, Exception):
            self._breaker.trip(time.monotonic())
            self._say_gone(answered)

    async def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return what is remembered under these names; nothing when the store does not answer well and in time."""
        if not keys or self._is_closed:
            return {}
        found = await self._call("read", partial(self._read, keys), self._timeout_s) or {}
        self._metrics.shared_cache_hits.inc(len(found))
        self._metrics.shared_cache_misses.inc(len(keys) - len(found))
        return found

    def put_many(self, entries: Mapping[bytes, Entry]) -> None:
        """Queue entries for writing and return at once; entries beyond the limit, or without a store, are dropped."""
        may_write = not self._is_closed and self._breaker.state is BreakerState.CLOSED
        taken = dict(islice(entries.items(), MAX_WAITING - len(self._waiting) if may_write else 0))
        self._metrics.shared_cache_dropped.inc(len(entries) - len(taken))
        self._waiting.update(taken)
        if self._waiting and (self._writer is None or self._writer.done()):
            self._writer = asyncio.create_task(self._write_all(), name="shared cache")

    async def close(self) -> None:
        """Write what waits if that takes no more than a moment, and let go of the store. Calling it twice is harmless."""
        self._is_closed = True
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=BACKGROUND_TIMEOUT_S)
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        with suppress(Exception):
            async with asyncio.timeout(BACKGROUND_TIMEOUT_S):
                await self._store.close()

    async def _write_all(self) -> None:
        while self._waiting:
            batch = {name: self._waiting.pop(name) for name in list(islice(self._waiting, WRITE_ENTRIES))}
            num_refused = await self._call("write", partial(self._write, batch), BACKGROUND_TIMEOUT_S)
            self._metrics.shared_cache_dropped.inc(len(batch) if num_refused is None else num_refused)
            if num_refused is not None:
                self._note_refusal(num_refused)

    async def _read(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the values that are what their names say. One that was meant for another name is not."""
        pairs = zip(keys, await self._store.read(keys), strict=False)
        read = {name: decode(name, value) for name, value in pairs if isinstance(value, bytes)}
        return {name: entry for name, entry in read.items() if entry is not None}

    async def _write(self, batch: Mapping[bytes, Entry]) -> int:
        return await self._store.write({name: encode(name, entry) for name, entry in batch.items()})

    async def _call(self, operation: str, call: Callable[[], Awaitable[Returned]], timeout_s: float) -> Returned | None:
        """Return what the store answers, or None if it is left alone, fails, or takes too long."""
        started_s = time.monotonic()
        if not self._breaker.may_call(started_s):
            return None
        returned = await self._attempt(operation, call, timeout_s)
        if isinstance(returned, Exception):
            if self._breaker.failed(time.monotonic()):
                self._say_gone(returned)
            return None
        self._metrics.shared_cache_duration.labels(operation).observe(time.monotonic() - started_s)
        if self._breaker.succeeded():
            self._metrics.shared_cache_up.labels(self._location).set(1)
            logger.warning("shared cache is back", extra={"cache": self._location})
        return returned

    async def _attempt(self, operation: str, call: Callable[[], Awaitable[Returned]], timeout_s: float) -> Returned | Exception:
        """Return what the store answers, or why it does not."""
        try:
            async with asyncio.timeout(timeout_s):
                return await call()
        except Exception as error:  # noqa: BLE001 - a library that parses what anybody may answer can raise anything
            self._metrics.shared_cache_failures.labels(operation).inc()
            return error

    def _say_gone(self, error: Exception) -> None:
        self._metrics.shared_cache_up.labels(self._location).set(0)
        why = {"cache": self._location, "error": type(error).__name__}  # its message may quote what is no log's business
        logger.warning("shared cache does not answer; serving without it until it does", extra=why)

    def _note_refusal(self, num_refused: int) -> None:
        """Say once that a store which answers takes no entries: it is full, or read-only."""
        if num_refused and not self._is_refused:
            logger.warning("shared cache takes no new entries; it is full or read-only", extra={"cache": self._location})
        self._is_refused = bool(num_refused)
