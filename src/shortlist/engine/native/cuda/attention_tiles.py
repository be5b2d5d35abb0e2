"""Splits the queries of a packed sequence into tiles, one per GPU program. Pure positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shortlist.engine.native.layout import PackedSpan

FIELDS: Final = 6
"""Per tile: first row of q and number of rows; first row of k of the span and the first query's index in it; first row of the
shared prefix and its length."""

Tiles = npt.NDArray[np.int32]


def tiles_of(spans: Sequence[PackedSpan], num_queries: int) -> Tiles:
    """Return tiles of at most `num_queries` queries, each of one span.

    A span's tiles depend on the span alone, so that its results do not depend on its neighbours.

    Shapes:
        result: [num tiles, 6].
    """
    spans_S6 = np.array([_row(span) for span in spans], dtype=np.int32).reshape(-1, FIELDS)
    counts_S = -(-spans_S6[:, 1] // num_queries)
    tiles_N6 = spans_S6.repeat(counts_S, axis=0)
    starts_S = counts_S.cumsum() - counts_S
    offsets_N = (np.arange(len(tiles_N6)) - starts_S.repeat(counts_S)) * num_queries
    tiles_N6[:, 0] += offsets_N
    tiles_N6[:, 1] = np.minimum(tiles_N6[:, 1] - offsets_N, num_queries)
    tiles_N6[:, 3] += offsets_N
    return tiles_N6


def _row(span: PackedSpan) -> tuple[int, ...]:
    first_offset = len(span.rows) - len(span.queries)
    return span.queries.start, len(span.queries), span.rows.start, first_offset, span.prefix.start, len(span.prefix)
