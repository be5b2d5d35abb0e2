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
"""Numbers of 32 bits to whose multiples every part is padded: kernels read 16 bytes at once from where they may."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a step computes."""

    num_tokens: int
    num_tiles: int
    num_scored: int

    def parts(self) -> list[slice]:
        """Return where ids, positions, tiles, scored tiles and scored rows lie."""
        lengths = (self.num_tokens, self.num_tokens, FIELDS * self.num_tiles, FIELDS * self.num_scored, self.num_scored)
        starts = np.cumsum([0, *(-(-length // ALIGNED) * ALIGNED for length in lengths)])
        return [slice(int(start), int(start) + length) for start, length in zip(starts, lengths, strict=False)]


@dataclass(frozen=True, slots=True, eq=False)
class HostInputs:
    """What a step is to read, still on the host. Shapes as of `Inputs`.

    Attributes:
        long_spans: Runs in none of the tiles, which have launches of their own; see `long.py`.
    """

    ids_T: Ints
    positions_T: Ints
    tiles_N6: Tiles
    scored_tiles_B6: Tiles
    rows_B: Ints
    long_spans: tuple[PackedSpan, ...] = ()

    @property
    def sizes(self) -> Sizes:
        """How much there is."""
        return Sizes(len(self.ids_T), len(self.tiles_N6), len(self.rows_B))

    def laid_out(self, sizes: Sizes) -> Ints:
        """Return all inputs in one array, each part padded to `sizes`.

        What pads a part is zero: tiles of no queries, and tokens and rows that are never read.
        """
        places = sizes.parts()
        array = np.zeros(places[-1].stop, dtype=np.int32)
        parts = self.ids_T, self.positions_T, self.tiles_N6, self.scored_tiles_B6, self.rows_B
        for place, part in zip(places, parts, strict=True):
            array[place][: part.size] = part.reshape(-1)
        return array


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What a step reads, on the device.

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
