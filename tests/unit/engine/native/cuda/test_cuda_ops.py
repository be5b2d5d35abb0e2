"""`CudaOps` against `PortableOps`: the same numbers, in place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shortlist.engine.native.layout import Layout
from shortlist.engine.native.portable_ops import PortableOps, Rope, rms_norm
from tests.support.interpreter import DEVICE, config_of
from tests.support.native import layout_of

from shortlist.engine.native.cuda.cuda_ops import CudaOps, TileConfig  # isort: skip - after the check for Triton
from shortlist.engine.native.cuda.attention_tiles import tiles_of  # isort: skip

CONFIG = config_of()
LAYOUT = layout_of((9, [20, 3]), (0, [17]))


def both_ops(layout: Layout = LAYOUT) -> tuple[CudaOps, PortableOps]:
    rope = Rope.of(torch.arange(layout.num_tokens, device=DEVICE) % 19, CONFIG)
    tile_config = TileConfig.of(CONFIG, torch.float32)
    tiles = tiles_of(layout.spans, tile_config.tile_tokens), tiles_of(layout.pruned().spans, 1)
    tiles_N6, scored_tiles_B6 = (torch.from_numpy(each).to(DEVICE) for each in tiles)
    return CudaOps(CONFIG, tile_config, rope, tiles_N6, scored_tiles_B6), PortableOps(CONFIG, torch.float32, rope, layout)


def filled(ops: CudaOps | PortableOps) -> tuple[Tensor, Tensor]:
    """Write random queries, keys and values; return the original queries and their norm's weight."""
    draw = torch.Generator().manual_seed(0)
    num_tokens = LAYOUT.num_tokens
    q, k, v = (
        torch.randn(num_tokens, heads * CONFIG.head_dim, generator=draw).to(DEVICE)
        for heads in (CONFIG.num_heads, CONFIG.num_kv_heads, CONFIG.num_kv_heads)
    )
    q_weight, k_weight = (torch.randn(CONFIG.head_dim, generator=draw).to(DEVICE) + 1 for _ in range(2))
    rows = slice(0, num_tokens)
    ops.write_q(q.clone(), q_weight, rows)
    ops.write_kv(k.clone(), v.clone(), k_weight, rows)
    return q, q_weight


def test_attention_equals_portable_ops() -> None:
    ours, exact = both_ops()
    filled(ours)
    filled(exact)
    torch.testing.assert_close(ours.attend(), exact.attend(), atol=1e-5, rtol=1e-5)


def test_scored_tokens_alone_equal_those_among_all() -> None:
    ours, _ = both_ops()
    rows = torch.tensor(LAYOUT.scored_rows, device=DEVICE)
    q, weight = filled(ours)
    whole = ours.attend().clone()
    torch.testing.assert_close(ours.attend_scored(q[rows], weight, rows), whole[rows], atol=1e-5, rtol=1e-5)


def test_norm_equals_portable_ops() -> None:
    x, weight = torch.randn(3, 64, device=DEVICE), torch.randn(64, device=DEVICE)
    torch.testing.assert_close(both_ops()[0].norm(x, weight), rms_norm(x, weight, 1e-6))


def test_attention_overwrites_the_queries() -> None:
    """Memory for 32k tokens is that of their states, queries and keys once."""
    ops, _ = both_ops()
    q = torch.ones(LAYOUT.num_tokens, CONFIG.num_heads * CONFIG.head_dim, device=DEVICE)
    ops.write_q(q, torch.ones(CONFIG.head_dim, device=DEVICE), slice(0, len(q)))
    keys, values = torch.ones(len(q), 4 * CONFIG.head_dim, device=DEVICE).chunk(2, dim=1)
    ops.write_kv(keys, values, torch.ones(CONFIG.head_dim, device=DEVICE), slice(0, len(q)))
    assert ops.attend().data_ptr() == q.data_ptr()


def test_part_of_a_sequence_is_a_bug() -> None:
    ops, _ = both_ops()
    weight = torch.ones(CONFIG.head_dim, device=DEVICE)
    with pytest.raises(AssertionError, match="This is a bug"):
        ops.write_q(torch.ones(3, CONFIG.num_heads * CONFIG.head_dim, device=DEVICE), weight, slice(0, 3))
