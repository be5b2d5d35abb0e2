"""When callers come, and how long those wait who wait longest. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from random import Random


def arrivals(rate_per_s: float, seed: str) -> Iterator[float]:
    """Yield when requests arrive, in seconds from the start, without end: independently of each other, as callers do.

    Source: a Poisson process; the times between its arrivals are exponential.
    """
    draw = Random(seed)  # noqa: S311 - no secret
    at_s = 0.0
    while True:
        at_s += draw.expovariate(rate_per_s)
        yield at_s


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """Return the least of these values that at least this share of them do not exceed; None of none. One that was measured."""
    if not ascending:
        return None
    rank = math.ceil(share * len(ascending) - 1e-9)  # 0.07 x 100 is a little more than 7 in floats
    return ascending[max(rank, 1) - 1]
