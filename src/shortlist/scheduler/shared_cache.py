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
from shortlist.types import Operation

Returned = TypeVar("Returned")

MAX_WAITING: Final = 4096
"""Limit of entries waiting to be written; further ones are dropped. At 4096 dimensions that is 64 MiB."""

WRITE_ENTRIES: Final = 256
"""Entries per write: large enough for few round trips, small enough for the timeout."""

BACKGROUND_TIMEOUT_S: Final = 1.0
"""Timeout of operations that no request waits for: write, start probe, close."""

PROBE_KEY: Final = bytes(32)
"""Key of the start probe; no digest is all zeros."""


class Store(Protocol):
    """A key-value store of bytes outside this process. Any method may raise anything, or never return."""

    async def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the value of each key, None for a missing one. One round trip."""
        ...

    async def write(self, values: Mapping[bytes, bytes]) -> int:
        """Store values with an expiry; return how many were refused. One round trip."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class SharedCache:
    """The shared cache level, behind a timeout and a circuit breaker.

    Args:
        store: The key-value store.
        timeout_s: Timeout of a lookup.
        metrics: Counts hits, misses, failures and drops.
        location: Name of the store in logs and metrics; holds no password.
        breaker: Decides when a failing store is skipped.
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
        """Entries waiting to be written."""
        return len(self._waiting)

    async def start(self) -> None:
        """Probe the store, and log if it is unavailable. Never raises; takes at most one second."""
        response = await self._attempt("read", partial(self._store.read, [PROBE_KEY]), BACKGROUND_TIMEOUT_S)
        if isinstance(response, Exception):
            self._breaker.trip(time.monotonic())
            self._log_unavailable(response)

    async def get_many(self, operation: Operation, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the entries of these keys of an operation; none if the store fails or times out."""
        if not keys or self._is_closed:
            return {}
        hits = await self._call("read", partial(self._read, operation, keys), self._timeout_s) or {}
        self._metrics.shared_cache_hits.inc(len(hits))
        self._metrics.shared_cache_misses.inc(len(keys) - len(hits))
        return hits

    def put_many(self, entries: Mapping[bytes, Entry]) -> None:
        """Queue entries for writing and return at once; entries beyond the limit, or without a store, are dropped."""
        may_write = not self._is_closed and self._breaker.state is BreakerState.CLOSED
        accepted = dict(islice(entries.items(), MAX_WAITING - len(self._waiting) if may_write else 0))
        self._metrics.shared_cache_dropped.inc(len(entries) - len(accepted))
        self._waiting.update(accepted)
        if self._waiting and (self._writer is None or self._writer.done()):
            self._writer = asyncio.create_task(self._write_all(), name="shared cache")

    async def close(self) -> None:
        """Write waiting entries within the timeout, and close the store. Idempotent."""
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
            batch = {key: self._waiting.pop(key) for key in list(islice(self._waiting, WRITE_ENTRIES))}
            num_refused = await self._call("write", partial(self._write, batch), BACKGROUND_TIMEOUT_S)
            self._metrics.shared_cache_dropped.inc(len(batch) if num_refused is None else num_refused)
            if num_refused is not None:
                self._log_refusal(num_refused)

    async def _read(self, operation: Operation, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return the valid entries. A value that was stored for another key is invalid."""
        pairs = zip(keys, await self._store.read(keys), strict=False)
        read = {key: decode(operation, key, value) for key, value in pairs if isinstance(value, bytes)}
        return {key: entry for key, entry in read.items() if entry is not None}

    async def _write(self, batch: Mapping[bytes, Entry]) -> int:
        return await self._store.write({key: encode(key, entry) for key, entry in batch.items()})

    async def _call(self, access: str, call: Callable[[], Awaitable[Returned]], timeout_s: float) -> Returned | None:
        """Return the response of the store, or None if it is skipped, fails or times out."""
        started_s = time.monotonic()
        if not self._breaker.may_call(started_s):
            return None
        returned = await self._attempt(access, call, timeout_s)
        if isinstance(returned, Exception):
            if self._breaker.failed(time.monotonic()):
                self._log_unavailable(returned)
            return None
        self._metrics.shared_cache_duration.labels(access).observe(time.monotonic() - started_s)
        if self._breaker.succeeded():
            self._metrics.shared_cache_up.labels(self._location).set(1)
            logger.warning("shared cache is back", extra={"cache": self._location})
        return returned

    async def _attempt(self, access: str, call: Callable[[], Awaitable[Returned]], timeout_s: float) -> Returned | Exception:
        """Return the response of the store, or its error."""
        try:
            async with asyncio.timeout(timeout_s):
                return await call()
        except Exception as error:  # noqa: BLE001 - the client library parses foreign data and can raise anything
            self._metrics.shared_cache_failures.labels(access).inc()
            return error

    def _log_unavailable(self, error: Exception) -> None:
        self._metrics.shared_cache_up.labels(self._location).set(0)
        extra = {"cache": self._location, "error": type(error).__name__}  # not its message, which may quote data
        logger.warning("shared cache does not answer; serving without it until it does", extra=extra)

    def _log_refusal(self, num_refused: int) -> None:
        """Log once that the store refuses writes: it is full or read-only."""
        if num_refused and not self._is_refused:
            logger.warning("shared cache takes no new entries; it is full or read-only", extra={"cache": self._location})
        self._is_refused = bool(num_refused)
