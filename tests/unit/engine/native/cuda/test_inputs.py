"""A step's inputs lie in one array, each where its kernel may read it, and padding is nothing to compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.interpreter import DEVICE

from shortlist.engine.native.cuda.inputs import ALIGNED, Inputs, Sizes, laid_out  # isort: skip - Triton must have been looked for

EXACT = Sizes(5, 3, 2)


def parts_of(sizes: Sizes) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int32]], ...]:
    shapes = [(sizes.num_tokens,), (sizes.num_tokens,), (sizes.num_tiles, 6), (sizes.num_scored, 6), (sizes.num_scored,)]
    return tuple(np.random.default_rng(seed).integers(1, 99, shape).astype(np.int32) for seed, shape in enumerate(shapes))


@pytest.mark.parametrize("sizes", [EXACT, Sizes(5, 4, 2), Sizes(64, 40, 9)])
def test_parts_come_out_as_they_went_in_and_padding_is_zero(sizes: Sizes) -> None:
    ids, positions, tiles, scored_tiles, rows = parts_of(EXACT)
    buffer = torch.from_numpy(laid_out((ids, positions, tiles, scored_tiles, rows), sizes)).to(DEVICE)
    found = Inputs.of(buffer, sizes)
    pairs = [
        (found.ids_T, ids),
        (found.positions_T, positions),
        (found.tiles_N6, tiles),
        (found.scored_tiles_B6, scored_tiles),
        (found.rows_B, rows),
    ]
    lengths = (sizes.num_tokens, sizes.num_tokens, sizes.num_tiles, sizes.num_scored, sizes.num_scored)
    for (there, here), length in zip(pairs, lengths, strict=True):
        assert len(there) == length
        assert np.array_equal(there[: len(here)].cpu().numpy(), here)
        assert not there[len(here) :].any()


@pytest.mark.parametrize("sizes", [EXACT, Sizes(1, 1, 1), Sizes(7, 3, 3)])
def test_every_part_begins_where_sixteen_bytes_do(sizes: Sizes) -> None:
    assert all(part.start % ALIGNED == 0 for part in sizes.parts())
