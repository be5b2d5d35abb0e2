"""`ForwardOps` by Triton kernels, on NVIDIA GPUs.

Nothing is copied: queries, keys and values are normalised and rotated in place, and attention overwrites the queries. So a
packed sequence is one chunk; only its MLP is computed in parts (`linears.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shortlist.engine.native.cuda import launch
from shortlist.engine.native.cuda.long_attention import attend_long
from shortlist.engine.native.layout import PackedSpan
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.portable_ops import Rope


@dataclass(frozen=True, slots=True)
class TileConfig:
    """Tile and block sizes of attention in a model.

    Attributes:
        tile_tokens: Maximum queries per tile.
        blocks: Block sizes for all tokens.
        scored_blocks: Block sizes for tiles of one query.
    """

    tile_tokens: int
    blocks: launch.Blocks
    scored_blocks: launch.Blocks

    @classmethod
    def of(cls, config: Qwen3Config, dtype: torch.dtype) -> TileConfig:
        """Return the configuration of a model in a dtype."""
        group = config.num_heads // config.num_kv_heads
        blocks = launch.blocks_of(config.head_dim, dtype, group=group)
        return cls(blocks.rows // group, blocks, launch.blocks_of(config.head_dim, dtype, group=group, num_queries=1))


class CudaOps:
    """`ForwardOps` on Triton kernels.

    Args:
        config: The model's configuration.
        tile_config: Tile and block sizes of attention.
        rope: Rotary angles of the tokens.
        tiles_N6: Tiles of all queries, on the device; see `attention_tiles.py`.
        scored_tiles_B6: Tiles of the scored tokens' queries, which are contiguous.
        long_spans: Spans without tiles; see `long_attention.py`.
    """

    def __init__(
        self,
        config: Qwen3Config,
        tile_config: TileConfig,
        rope: Rope,
        tiles_N6: Tensor,
        scored_tiles_B6: Tensor,
        long_spans: Sequence[PackedSpan] = (),
    ) -> None:
        self._config = config
        self._tile_config = tile_config
        self._rope = rope
        self._tiles_N6 = tiles_N6
        self._scored_tiles_B6 = scored_tiles_B6
        self._long_spans = long_spans
        self._q_TX = self._k_TX = self._v_TX = rope.cos_TD.new_empty(0)

    def norm(self, hidden_tW: Tensor, weight_W: Tensor) -> Tensor:
        """See `ForwardOps`."""
        return launch.rms_norm(hidden_tW, weight_W, self._config.norm_eps)

    def write_q(self, q_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """See `ForwardOps`."""
        assert len(q_tX) == len(self._rope.cos_TD), "A packed sequence is one chunk. This is a bug."
        launch.norm_and_rotate(q_tX, weight_D, self._rope.at(rows), self._config.norm_eps)
        self._q_TX = q_tX

    def write_kv(self, k_tX: Tensor, v_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """See `ForwardOps`."""
        assert len(k_tX) == len(self._rope.cos_TD), "A packed sequence is one chunk. This is a bug."
        launch.norm_and_rotate(k_tX, weight_D, self._rope.at(rows), self._config.norm_eps)
        self._k_TX, self._v_TX = k_tX, v_tX

    def attend(self) -> Tensor:
        """See `ForwardOps`."""
        for span in self._long_spans:
            attend_long(self._q_TX, self._k_TX, self._v_TX, span, width=self._config.head_dim)
        self._attend(self._q_TX, self._tiles_N6, self._tile_config.blocks)
        return self._q_TX

    def attend_scored(self, q_BX: Tensor, weight_D: Tensor, rows_B: Tensor) -> Tensor:
        """See `ForwardOps`."""
        launch.norm_and_rotate(q_BX, weight_D, self._rope.at(rows_B), self._config.norm_eps)
        self._attend(q_BX, self._scored_tiles_B6, self._tile_config.scored_blocks)
        return q_BX

    def _attend(self, q_QX: Tensor, tiles_N6: Tensor, blocks: launch.Blocks) -> None:
        launch.attend(q_QX, self._k_TX, self._v_TX, tiles_N6, blocks, width=self._config.head_dim)
