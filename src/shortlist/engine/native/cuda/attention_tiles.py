"""Splits the queries of a packed sequence into tiles, one per GPU program. Pure positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shortlist.engine.native.layout import PackedSpan

FIELDS: Final = 6
"""First row of q, and how many; first row of k of their run, and the place in it of the first; first row of its head, and its
length."""

Tiles = npt.NDArray[np.int32]


def tiles_of(spans: Sequence[PackedSpan], num_queries: int) -> Tiles:
    """Return tiles of at most `num_queries` queries, each from one span.

    A span's tiles depend on nothing but itself, so that its numbers do not depend on its neighbours.

    Shapes:
        result: [num tiles, 6].
    """
    whole_S6 = np.array([_row(span) for span in spans], dtype=np.int32).reshape(-1, FIELDS)
    counts_S = -(-whole_S6[:, 1] // num_queries)
    tiles_N6 = whole_S6.repeat(counts_S, axis=0)
    begins_S = counts_S.cumsum() - counts_S
    passed_N = (np.arange(len(tiles_N6)) - begins_S.repeat(counts_S)) * num_queries
    tiles_N6[:, 0] += passed_N
    tiles_N6[:, 1] = np.minimum(tiles_N6[:, 1] - passed_N, num_queries)
    tiles_N6[:, 3] += passed_N
    return tiles_N6


def _row(span: PackedSpan) -> tuple[int, ...]:
    first_place = len(span.rows) - len(span.queries)
    return span.queries.start, len(span.queries), span.rows.start, first_place, span.prefix.start, len(span.prefix)
