"""Tiles cover every query of a packed sequence once, with the positions of its keys."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.native.cuda.attention_tiles import tiles_of
from tests.support.native import layout_of

requests = st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(1, 20), min_size=1, max_size=4)), min_size=1, max_size=4)


def test_span_is_split_from_its_start() -> None:
    layout = layout_of((3, [5, 2]))
    assert tiles_of(layout.spans, 2).tolist() == [
        [0, 2, 0, 0, 0, 0],
        [2, 1, 0, 2, 0, 0],
        [3, 2, 3, 0, 0, 3],
        [5, 2, 3, 2, 0, 3],
        [7, 1, 3, 4, 0, 3],
        [8, 2, 8, 0, 0, 3],
    ]


def test_scored_tokens_alone_are_tiles_of_one() -> None:
    layout = layout_of((3, [5, 2]), (0, [4]))
    assert tiles_of(layout.pruned().spans, 1).tolist() == [[0, 1, 3, 4, 0, 3], [1, 1, 8, 1, 0, 3], [2, 1, 10, 3, 0, 0]]


def test_no_spans_are_no_tiles() -> None:
    assert tiles_of([], 4).shape == (0, 6)


@given(requests, st.integers(1, 8))
def test_every_query_is_in_one_tile(requests: list[tuple[int, list[int]]], num_queries: int) -> None:
    layout = layout_of(*requests)
    tiles = tiles_of(layout.spans, num_queries)
    assert tiles.dtype == np.int32
    assert (tiles[:, 1] >= 1).all()
    assert (tiles[:, 1] <= num_queries).all()
    covered = [row for first, count, *_ in tiles for row in range(first, first + count)]
    assert covered == list(range(layout.num_tokens))


@given(requests, st.integers(1, 8))
def test_tiles_of_a_span_do_not_depend_on_its_neighbours(requests: list[tuple[int, list[int]]], num_queries: int) -> None:
    spans = layout_of(*requests).spans
    alone = np.concatenate([tiles_of([span], num_queries) for span in spans])
    assert np.array_equal(tiles_of(spans, num_queries), alone)
