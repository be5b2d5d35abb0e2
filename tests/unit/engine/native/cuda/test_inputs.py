"""The inputs of a forward pass are in one array, aligned for the kernels, with zeros as padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.interpreter import DEVICE

from shortlist.engine.native.cuda.inputs import ALIGNED, HostInputs, Inputs, Sizes  # isort: skip - after the check for Triton

EXACT = Sizes(5, 3, 2)


def inputs_of(sizes: Sizes) -> HostInputs:
    shapes = [(sizes.num_tokens,), (sizes.num_tokens,), (sizes.num_tiles, 6), (sizes.num_scored, 6), (sizes.num_scored,)]
    drawn = [np.random.default_rng(seed).integers(1, 99, shape).astype(np.int32) for seed, shape in enumerate(shapes)]
    ids, positions, tiles, scored_tiles, rows = drawn
    return HostInputs(ids, positions, tiles, scored_tiles, rows)


@pytest.mark.parametrize("sizes", [EXACT, Sizes(5, 4, 2), Sizes(64, 40, 9)])
def test_parts_are_unchanged_and_padding_is_zero(sizes: Sizes) -> None:
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
    for (padded, original), length in zip(pairs, lengths, strict=True):
        assert len(padded) == length
        assert np.array_equal(padded[: len(original)].cpu().numpy(), original)
        assert not padded[len(original) :].any()


@pytest.mark.parametrize("sizes", [EXACT, Sizes(1, 1, 1), Sizes(7, 3, 3)])
def test_every_part_is_aligned_to_16_bytes(sizes: Sizes) -> None:
    assert all(part.start % ALIGNED == 0 for part in sizes.parts())
