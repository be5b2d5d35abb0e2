"""Statistics of a benchmark: Poisson arrivals, percentiles, and a median with its range. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, minimum and maximum of a set of values."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(median(values), min(values), max(values))


def arrivals(rate_per_s: float, seed: str) -> Iterator[float]:
    """Yield arrival times in seconds from the start, as an infinite iterator.

    Source: a Poisson process; the times between its arrivals are independent and exponential.
    """
    draw = Random(seed)  # noqa: S311 - no secret
    at_s = 0.0
    while True:
        at_s += draw.expovariate(rate_per_s)
        yield at_s


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share of the values do not exceed; None without values."""
    if not ascending:
        return None
    rank = math.ceil(share * len(ascending) - 1e-9)  # 0.07 x 100 is a little more than 7 in floats
    return ascending[max(rank, 1) - 1]
