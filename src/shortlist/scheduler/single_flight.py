"""Single flight: concurrent requests for the same cache key share one computation.

Runs on the event loop. A claim that ends without a result (its request was cancelled or refused) resolves to None, and the
requests that joined it compute the key themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class InFlight(Generic[T]):
    """In-flight computations by cache key."""

    def __init__(self) -> None:
        self._in_flight: dict[bytes, asyncio.Future[T | None]] = {}

    def __len__(self) -> int:
        return len(self._in_flight)

    def join(self, keys: Iterable[bytes]) -> dict[bytes, asyncio.Future[T | None]]:
        """Return a future for every key that is in flight. It resolves to None if the claim ends without a result."""
        return {key: future for key in keys if (future := self._in_flight.get(key)) is not None}

    @contextmanager
    def claim(self, keys: Iterable[bytes]) -> Iterator[dict[bytes, T]]:
        """Claim keys for the duration of the block. Requests that joined get what the block puts into the dict."""
        results: dict[bytes, T] = {}
        in_flight = {key: asyncio.get_running_loop().create_future() for key in keys}
        assert not in_flight.keys() & self._in_flight.keys(), "Nothing is computed twice at once. This is a bug."
        self._in_flight.update(in_flight)
        try:
            yield results
        finally:
            self._resolve(in_flight, results)

    def _resolve(self, in_flight: Mapping[bytes, asyncio.Future[T | None]], results: Mapping[bytes, T]) -> None:
        for key, future in in_flight.items():
            del self._in_flight[key]
            if not future.done():
                future.set_result(results.get(key))
