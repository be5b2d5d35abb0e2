"""Which worker gets the next batch."""

from __future__ import annotations

from collections.abc import Sequence


def least_loaded(loads: Sequence[int]) -> int:
    """Return the place of the smallest load, the first of several.

    Args:
        loads: Tokens that are under way at each worker.
    """
    return min(range(len(loads)), key=loads.__getitem__)
