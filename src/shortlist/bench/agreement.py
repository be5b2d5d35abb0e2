"""Whether two contenders say the same: their scores on the check set, compared as log-odds. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

Scores = Sequence[Sequence[float]]
"""One row per request, one probability per document."""

NEAREST: Final = 1e-6
"""Probabilities nearer than this to 0 or 1 count as this near: 32-bit floats cannot tell them apart reliably."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a contender's scores are from the reference's.

    Attributes:
        rms: Root of the mean squared difference in log-odds, over all documents.
        most: The largest difference in log-odds.
        kendall_tau: Mean rank correlation over the requests: 1 for the same order, -1 for the reverse.
    """

    rms: float
    most: float
    kendall_tau: float


def compare(scores: Scores, reference: Scores) -> Agreement:
    """Return how far the scores are from the reference's, document by document."""
    gaps = [
        abs(log_odds(one) - log_odds(other))
        for row, reference_row in zip(scores, reference, strict=True)
        for one, other in zip(row, reference_row, strict=True)
    ]
    taus = [kendall_tau(row, reference_row) for row, reference_row in zip(scores, reference, strict=True)]
    return Agreement(
        rms=math.sqrt(sum(gap * gap for gap in gaps) / len(gaps)), most=max(gaps), kendall_tau=sum(taus) / len(taus)
    )


def log_odds(probability: float) -> float:
    """Return the log-odds of a probability, finite for 0 and 1 too."""
    bounded = min(max(probability, NEAREST), 1 - NEAREST)
    return math.log(bounded / (1 - bounded))


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the rank correlation of two rows of scores, tau-b: a tie in one of them only counts as half a swap.

    Source: M. Kendall, "The treatment of ties in ranking problems", 1945. A row without any order agrees with its like alone.
    """
    signs = [(_sign(a[0] - b[0]), _sign(a[1] - b[1])) for a, b in combinations(zip(one, other, strict=True), 2)]
    ordered, ordered_too = (sum(pair[side] != 0 for pair in signs) for side in (0, 1))
    if not ordered or not ordered_too:
        return 1.0 if ordered == ordered_too else 0.0
    return sum(a * b for a, b in signs) / math.sqrt(ordered * ordered_too)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
