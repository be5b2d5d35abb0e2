"""Which worker gets the next batch, and which processors a worker on the CPU gets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def least_loaded(loads: Sequence[int]) -> int:
    """Return the place of the smallest load, the first of several.

    Args:
        loads: Tokens that are under way at each worker.
    """
    return min(range(len(loads)), key=loads.__getitem__)


def divided(nodes: Sequence[Sequence[int]], num_shares: int) -> list[tuple[int, ...]]:
    """Return shares of the processors that differ by one at most; all empty, if there are too few for one each.

    Args:
        nodes: The processors of every memory node; those of one node stay together.
        num_shares: How many shares.
    """
    cores = [core for node in nodes for core in node]
    if len(cores) < num_shares:
        return [()] * num_shares
    ends = [len(cores) * number // num_shares for number in range(num_shares + 1)]
    return [tuple(cores[start:end]) for start, end in pairwise(ends)]
