"""Statistics of a benchmark: Poisson arrivals, percentiles, and a median with its range. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the most of the values it is the median of."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of these values, of which there is at least one."""
        return cls(median(values), min(values), max(values))


def arrivals(rate_per_s: float, seed: str) -> Iterator[float]:
    """Yield the times at which requests arrive, in seconds from the start, without end.

    Source: a Poisson process; the times between its arrivals are independent and exponential.
    """
    draw = Random(seed)  # noqa: S311 - no secret
    at_s = 0.0
    while True:
        at_s += draw.expovariate(rate_per_s)
        yield at_s


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """Return the least of these values that at least this share of them do not exceed; None of none."""
    if not ascending:
        return None
    rank = math.ceil(share * len(ascending) - 1e-9)  # 0.07 x 100 is a little more than 7 in floats
    return ascending[max(rank, 1) - 1]
