"""What happens between the matrix products of a layer, by Triton kernels: on NVIDIA GPUs.

Nothing is copied: queries, keys and values stay where the products put them, are normalised and turned there, and what the
queries gather takes their place. So a pack is one chunk, whose MLP alone is computed in parts (`linears.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from shortlist.engine.native.config import Qwen3Config
from shortlist.engine.native.cuda import launch
from shortlist.engine.native.cuda.tiles import tiles_of
from shortlist.engine.native.layout import Layout, Span
from shortlist.engine.native.portable import Rope


class CudaStep:
    """A `Step` on Triton kernels."""

    def __init__(self, config: Qwen3Config, dtype: torch.dtype, rope: Rope, layout: Layout) -> None:
        self._config = config
        self._rope = rope
        group = config.num_heads // config.num_kv_heads
        self._blocks = launch.blocks_of(config.head_dim, dtype, group=group)
        self._scored_blocks = launch.blocks_of(config.head_dim, dtype, group=group, num_queries=1)
        self._tiles_N6 = self._tiles(layout.spans, self._blocks.rows // group)
        self._scored_tiles_B6 = self._tiles(layout.pruned().spans, 1)
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
        self._attend(self._q_TX, self._tiles_N6, self._blocks)
        return self._q_TX

    def attend_scored(self, q_BX: Tensor, weight_D: Tensor, rows_B: Tensor) -> Tensor:
        """See `Step`."""
        launch.norm_and_turn(q_BX, weight_D, self._rope.at(rows_B), self._config.norm_eps)
        self._attend(q_BX, self._scored_tiles_B6, self._scored_blocks)
        return q_BX

    def _attend(self, q_QX: Tensor, tiles_N6: Tensor, blocks: launch.Blocks) -> None:
        launch.attend(q_QX, self._k_TX, self._v_TX, tiles_N6, blocks, width=self._config.head_dim)

    def _tiles(self, spans: Sequence[Span], num_queries: int) -> Tensor:
        return torch.from_numpy(tiles_of(spans, num_queries)).to(self._rope.cos_TD.device)
