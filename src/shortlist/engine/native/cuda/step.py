"""What happens between the matrix products of a layer, by Triton kernels: on NVIDIA GPUs.

Nothing is copied: queries, keys and values stay where the products put them, are normalised and turned there, and what the
queries gather takes their place. So a pack is one chunk, whose MLP alone is computed in parts (`linears.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shortlist.engine.native.config import Qwen3Config
from shortlist.engine.native.cuda import launch
from shortlist.engine.native.cuda.long import attend_long
from shortlist.engine.native.layout import Span
from shortlist.engine.native.portable import Rope


@dataclass(frozen=True, slots=True)
class Ways:
    """How attention divides its work in a model.

    Attributes:
        tile_tokens: Queries in a tile, at most.
        blocks: For all tokens.
        scored_blocks: For tiles of one query.
    """

    tile_tokens: int
    blocks: launch.Blocks
    scored_blocks: launch.Blocks

    @classmethod
    def of(cls, config: Qwen3Config, dtype: torch.dtype) -> Ways:
        """Return the ways of a model in a dtype."""
        group = config.num_heads // config.num_kv_heads
        blocks = launch.blocks_of(config.head_dim, dtype, group=group)
        return cls(blocks.rows // group, blocks, launch.blocks_of(config.head_dim, dtype, group=group, num_queries=1))


class CudaStep:
    """A `Step` on Triton kernels.

    Args:
        config: The model's shape.
        ways: How attention divides its work.
        rope: Of the pack's tokens.
        tiles_N6: Of all queries, on the device; see `tiles.py`.
        scored_tiles_B6: Of the scored tokens', which lie together.
        long_spans: Runs whose queries are in none of the tiles; see `long.py`.
    """

    def __init__(
        self,
        config: Qwen3Config,
        ways: Ways,
        rope: Rope,
        tiles_N6: Tensor,
        scored_tiles_B6: Tensor,
        long_spans: Sequence[Span] = (),
    ) -> None:
        self._config = config
        self._ways = ways
        self._rope = rope
        self._tiles_N6 = tiles_N6
        self._scored_tiles_B6 = scored_tiles_B6
        self._long_spans = long_spans
        self._q_TX = self._k_TX = self._v_TX = rope.cos_TD.new_empty(0)

    def norm(self, hidden_tW: Tensor, weight_W: Tensor) -> Tensor:
        """See `Step`."""
        return launch.rms_norm(hidden_tW, weight_W, self._config.norm_eps)

    def place_queries(self, q_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """See `Step`."""
        assert len(q_tX) == len(self._rope.cos_TD), "A pack is one chunk. This is a bug."
        launch.norm_and_turn(q_tX, weight_D, self._rope.at(rows), self._config.norm_eps)
        self._q_TX = q_tX

    def place_keys(self, k_tX: Tensor, v_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """See `Step`."""
        assert len(k_tX) == len(self._rope.cos_TD), "A pack is one chunk. This is a bug."
        launch.norm_and_turn(k_tX, weight_D, self._rope.at(rows), self._config.norm_eps)
        self._k_TX, self._v_TX = k_tX, v_tX

    def attend(self) -> Tensor:
        """See `Step`."""
        for span in self._long_spans:
            attend_long(self._q_TX, self._k_TX, self._v_TX, span, width=self._config.head_dim)
        self._attend(self._q_TX, self._tiles_N6, self._ways.blocks)
        return self._q_TX

    def attend_scored(self, q_BX: Tensor, weight_D: Tensor, rows_B: Tensor) -> Tensor:
        """See `Step`."""
        launch.norm_and_turn(q_BX, weight_D, self._rope.at(rows_B), self._config.norm_eps)
        self._attend(q_BX, self._scored_tiles_B6, self._ways.scored_blocks)
        return q_BX

    def _attend(self, q_QX: Tensor, tiles_N6: Tensor, blocks: launch.Blocks) -> None:
        launch.attend(q_QX, self._k_TX, self._v_TX, tiles_N6, blocks, width=self._config.head_dim)
