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


class Flights(Generic[T]):
    """Computations under way, by name."""

    def __init__(self) -> None:
        self._under_way: dict[bytes, asyncio.Future[T | None]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def of(self, names: Iterable[bytes]) -> dict[bytes, asyncio.Future[T | None]]:
        """Return those of the names that somebody computes, each with what to wait for; None comes of it if nothing did."""
        return {name: flight for name in names if (flight := self._under_way.get(name)) is not None}

    @contextmanager
    def lead(self, names: Iterable[bytes]) -> Iterator[dict[bytes, T]]:
        """Compute these names for everybody, as long as the block runs: what it puts into the dict is what the others get."""
        landed: dict[bytes, T] = {}
        flights = {name: asyncio.get_running_loop().create_future() for name in names}
        assert not flights.keys() & self._under_way.keys(), "Nothing is computed twice at once. This is a bug."
        self._under_way.update(flights)
        try:
            yield landed
        finally:
            self._land(flights, landed)

    def _land(self, flights: Mapping[bytes, asyncio.Future[T | None]], landed: Mapping[bytes, T]) -> None:
        for name, flight in flights.items():
            del self._under_way[name]
            if not flight.done():
                flight.set_result(landed.get(name))
