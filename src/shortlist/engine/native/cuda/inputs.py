"""The inputs of a forward pass in one array: one copy to the device, at a fixed address for graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from torch import Tensor

from shortlist.engine.native.cuda.attention_tiles import FIELDS, Tiles
from shortlist.engine.native.cuda.graphs import Ints
from shortlist.engine.native.layout import PackedSpan

ALIGNED: Final = 4
"""32-bit numbers; every part is padded to a multiple of it, because kernels read 16 aligned bytes at once."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a forward pass."""

    num_tokens: int
    num_tiles: int
    num_scored: int

    def parts(self) -> list[slice]:
        """Return the slices of ids, positions, tiles, scored tiles and scored rows."""
        lengths = (self.num_tokens, self.num_tokens, FIELDS * self.num_tiles, FIELDS * self.num_scored, self.num_scored)
        starts = np.cumsum([0, *(-(-length // ALIGNED) * ALIGNED for length in lengths)])
        return [slice(int(start), int(start) + length) for start, length in zip(starts, lengths, strict=False)]


@dataclass(frozen=True, slots=True, eq=False)
class HostInputs:
    """The inputs of a forward pass on the host. Shapes as in `Inputs`.

    Attributes:
        long_spans: Spans without tiles, which have separate launches; see `long_attention.py`.
    """

    ids_T: Ints
    positions_T: Ints
    tiles_N6: Tiles
    scored_tiles_B6: Tiles
    rows_B: Ints
    long_spans: tuple[PackedSpan, ...] = ()

    @property
    def sizes(self) -> Sizes:
        """The sizes of these inputs, unpadded."""
        return Sizes(len(self.ids_T), len(self.tiles_N6), len(self.rows_B))

    def laid_out(self, sizes: Sizes) -> Ints:
        """Return all inputs in one array, each part padded to `sizes`.

        Padding is zero: tiles without queries, and tokens and rows that are never read.
        """
        slices = sizes.parts()
        array = np.zeros(slices[-1].stop, dtype=np.int32)
        parts = self.ids_T, self.positions_T, self.tiles_N6, self.scored_tiles_B6, self.rows_B
        for target, part in zip(slices, parts, strict=True):
            array[target][: part.size] = part.reshape(-1)
        return array


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The inputs of a forward pass on the device.

    Shapes:
        ids, positions: [T]; tiles: [N, 6]; scored_tiles: [B, 6]; rows: [B], of the scored tokens. All int32.
    """

    ids_T: Tensor
    positions_T: Tensor
    tiles_N6: Tensor
    scored_tiles_B6: Tensor
    rows_B: Tensor

    @classmethod
    def of(cls, buffer: Tensor, sizes: Sizes) -> Inputs:
        """Return the parts of a buffer."""
        ids, positions, tiles, scored_tiles, rows = (buffer[part] for part in sizes.parts())
        return cls(ids, positions, tiles.view(-1, FIELDS), scored_tiles.view(-1, FIELDS), rows)
