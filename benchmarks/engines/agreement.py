"""The check set, and the comparison of two contenders' scores on it, in log-odds. Pure.

The check set mixes short and long documents, English and Chinese. So it reveals errors of padding, packing, truncation and the
prompt template. The Chinese sentences were written for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from benchmarks.loads import BenchLoad, RequestWriter
from shortlist.bench.texts import LoadRequest

Scores = Sequence[Sequence[float]]
"""One row per request, one probability per document."""

NEAREST: Final = 1e-6
"""Probabilities are bounded to this distance from 0 and 1, because 32-bit floats are not reliable beyond it."""

LENGTHS: Final = (1, 7, 30, 120, 333, 900)
"""Tokens of the English documents of one request."""

CHINESE: Final = (
    LoadRequest(
        "怎样才能让面包更松软",
        (
            "和面时多加一点水，让面团在温暖的地方发酵两次，烤出来的面包会更松软。",
            "面包店在街角，每天早上七点开门，傍晚六点打烊。",
            "这座山的土壤松软，雨后容易滑坡，请勿靠近。",
            "酵母需要糖和合适的温度。水太烫会杀死酵母，水太凉则发酵缓慢；用手背试水温，感觉温热即可。" * 6,
        ),
    ),
    LoadRequest(
        "What does the lighthouse guard write down at night? 灯塔日志",
        (
            "夜里每过一小时，守塔人记下风向、浪高和经过的船只。",
            "The guard notes wind, waves and passing ships once an hour, 每小时一次。",
            "灯塔建于一百年前，塔身漆成红白两色。",
        ),
    ),
)

NUM_ENGLISH: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The differences of a contender's scores from the reference scores.

    Attributes:
        rms: Root of the mean squared difference in log-odds, over all documents.
        most: The largest difference in log-odds.
        kendall_tau: Mean rank correlation over the requests: 1 for the same order, -1 for the reverse.
    """

    rms: float
    most: float
    kendall_tau: float


def compare(scores: Scores, reference: Scores) -> Agreement:
    """Compare scores with the reference scores, document by document."""
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
    """Return the log-odds of a probability; finite for 0 and 1 too."""
    bounded = min(max(probability, NEAREST), 1 - NEAREST)
    return math.log(bounded / (1 - bounded))


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the rank correlation tau-b of two rows of scores. A tie in only one row counts as half a swap.

    The result is 1 if both rows have no order, and 0 if only one has none.

    Source: M. Kendall, "The treatment of ties in ranking problems", 1945.
    """
    signs = [(_sign(a[0] - b[0]), _sign(a[1] - b[1])) for a, b in combinations(zip(one, other, strict=True), 2)]
    num_ordered, num_other_ordered = (sum(pair[side] != 0 for pair in signs) for side in (0, 1))
    if not num_ordered or not num_other_ordered:
        return 1.0 if num_ordered == num_other_ordered else 0.0
    return sum(a * b for a, b in signs) / math.sqrt(num_ordered * num_other_ordered)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def check_set(writer: RequestWriter, seed: int) -> list[LoadRequest]:
    """Return the check requests. Each has documents of several lengths, not sorted by length."""
    return [_english(writer, f"check-{seed}-{number}", turn=number) for number in range(NUM_ENGLISH)] + list(CHINESE)


def _english(writer: RequestWriter, seed: str, *, turn: int) -> LoadRequest:
    lengths = LENGTHS[turn:] + LENGTHS[:turn]
    parts = [writer.request(BenchLoad("", 1, length), f"{seed}-{length}") for length in lengths]
    return LoadRequest(parts[0].query, tuple(part.documents[0] for part in parts))
