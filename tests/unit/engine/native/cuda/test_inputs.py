"""A step's inputs lie in one array, each where its kernel may read it, and padding is nothing to compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.interpreter import DEVICE

from shortlist.engine.native.cuda.inputs import ALIGNED, HostInputs, Inputs, Sizes  # isort: skip - Triton must have been looked for

EXACT = Sizes(5, 3, 2)


def inputs_of(sizes: Sizes) -> HostInputs:
    shapes = [(sizes.num_tokens,), (sizes.num_tokens,), (sizes.num_tiles, 6), (sizes.num_scored, 6), (sizes.num_scored,)]
    drawn = [np.random.default_rng(seed).integers(1, 99, shape).astype(np.int32) for seed, shape in enumerate(shapes)]
    ids, positions, tiles, scored_tiles, rows = drawn
    return HostInputs(ids, positions, tiles, scored_tiles, rows)


@pytest.mark.parametrize("sizes", [EXACT, Sizes(5, 4, 2), Sizes(64, 40, 9)])
def test_parts_come_out_as_they_went_in_and_padding_is_zero(sizes: Sizes) -> None:
    given = inputs_of(EXACT)
    assert given.sizes == EXACT
    found = Inputs.of(torch.from_numpy(given.laid_out(sizes)).to(DEVICE), sizes)
    pairs = [
        (found.ids_T, given.ids_T),
        (found.positions_T, given.positions_T),
        (found.tiles_N6, given.tiles_N6),
        (found.scored_tiles_B6, given.scored_tiles_B6),
        (found.rows_B, given.rows_B),
    ]
    lengths = (sizes.num_tokens, sizes.num_tokens, sizes.num_tiles, sizes.num_scored, sizes.num_scored)
    for (copied, here), length in zip(pairs, lengths, strict=True):
        assert len(copied) == length
        assert np.array_equal(copied[: len(here)].cpu().numpy(), here)
        assert not copied[len(here) :].any()


@pytest.mark.parametrize("sizes", [EXACT, Sizes(1, 1, 1), Sizes(7, 3, 3)])
def test_every_part_begins_where_sixteen_bytes_do(sizes: Sizes) -> None:
    assert all(part.start % ALIGNED == 0 for part in sizes.parts())
