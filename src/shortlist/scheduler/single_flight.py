"""What is being computed right now, so that whoever wants the same waits for it instead of computing it again.

Knows names and values, not what they mean. Lives on the event loop; a flight that ends without a value, because whoever
computed it left or was refused, tells those who waited to see to it themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class InFlight(Generic[T]):
    """Computations under way, by name."""

    def __init__(self) -> None:
        self._in_flight: dict[bytes, asyncio.Future[T | None]] = {}

    def __len__(self) -> int:
        return len(self._in_flight)

    def join(self, keys: Iterable[bytes]) -> dict[bytes, asyncio.Future[T | None]]:
        """Return those of the names that somebody computes, each with what to wait for; None comes of it if nothing did."""
        return {key: future for key in keys if (future := self._in_flight.get(key)) is not None}

    @contextmanager
    def claim(self, keys: Iterable[bytes]) -> Iterator[dict[bytes, T]]:
        """Compute these names for everybody, as long as the block runs: what it puts into the dict is what the others get."""
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
