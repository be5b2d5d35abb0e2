"""Every kernel against plain torch in fp32, over shapes that no block size divides."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.attention import attention
from shortlist.engine.native.layout import Layout
from shortlist.engine.native.portable_ops import Rope, _norm_and_rotate, rms_norm
from tests.support.interpreter import DEVICE, config_of
from tests.support.native import layout_of

from shortlist.engine.native.cuda import launch  # isort: skip - after the check for Triton
from shortlist.engine.native.cuda.attention_tiles import tiles_of  # isort: skip

EPS = 1e-6
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
UNIT = {torch.float32: 2**-20, torch.bfloat16: 2**-8, torch.float16: 2**-11}
"""Relative error of one rounding; in fp32, of the few that depend on the order of sums."""


def draw(*size: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(dtype).to(DEVICE)


def assert_rounded_once(found: Tensor, exact: Tensor) -> None:
    """Every number is the exact one in another dtype, or its neighbour if the exact one is between two."""
    unit = UNIT[found.dtype]
    torch.testing.assert_close(found.double(), exact.double(), rtol=unit, atol=1e-6)


# -- norms, positions, activations --


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 64, 100, 1025])
def test_norm(dtype: torch.dtype, width: int) -> None:
    x, weight = draw(3, width, dtype=dtype) * 50, draw(width, seed=1)
    assert_rounded_once(launch.rms_norm(x, weight, EPS), rms_norm(x.float(), weight, EPS))


def test_norm_of_zeros_is_zeros() -> None:
    assert not launch.rms_norm(torch.zeros(2, 8, device=DEVICE), draw(8), EPS).any()


def rope_of(positions: list[int], width: int) -> Rope:
    return Rope.of(torch.tensor(positions, device=DEVICE), config_of(head_dim=width))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "width"), [(1, 2), (2, 32), (3, 80), (5, 128)])
def test_heads_are_normalised_and_rotated(dtype: torch.dtype, heads: int, width: int) -> None:
    x, weight, rope = draw(4, heads * width, dtype=dtype), draw(width, seed=1) + 1, rope_of([0, 7, 3, 40_000], width)
    exact = _norm_and_rotate(x.view(4, heads, width).float(), weight, rope, EPS).flatten(1)
    launch.norm_and_rotate(x, weight, rope, EPS)
    assert_rounded_once(x, exact)


def test_half_of_a_wider_product_is_rotated_in_place() -> None:
    both, weight, rope = draw(3, 2 * 64), draw(32, seed=1), rope_of([1, 2, 3], 32)
    before = both.clone()
    keys, values = both.chunk(2, dim=1)
    launch.norm_and_rotate(keys, weight, rope, EPS)
    alone = before[:, :64].contiguous()
    launch.norm_and_rotate(alone, weight, rope, EPS)
    assert torch.equal(keys, alone)
    assert torch.equal(values, before[:, 64:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inner", [1, 70, 1030])
def test_silu_mul(dtype: torch.dtype, inner: int) -> None:
    both = draw(3, 2 * inner, dtype=dtype) * 5
    gate, up = (half.float() for half in both.clone().chunk(2, dim=1))
    assert_rounded_once(launch.silu_mul(both), F.silu(gate) * up)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # of the interpreter; a GPU gives infinity
def test_silu_mul_of_large_gates_stays_finite() -> None:
    both = torch.tensor([[-200.0, 200.0, 3.0, 3.0]], device=DEVICE)
    assert launch.silu_mul(both).tolist() == [[0.0, 600.0]]


# -- 8 bits --


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 64, 100, 1025])
def test_every_token_has_its_own_scale(dtype: torch.dtype, width: int) -> None:
    x = draw(4, width, dtype=dtype) * torch.tensor([[1.0], [1000.0], [1e-3], [1.0]], device=DEVICE).to(dtype)
    found, scale = launch.quantize(x)
    exact = x.float().abs().amax(1, keepdim=True) / 448
    torch.testing.assert_close(scale, exact, rtol=1e-6, atol=0)
    assert torch.equal(found.float(), (x.float() / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float())


def test_strided_rows_are_quantised_like_contiguous_ones() -> None:
    both = draw(3, 128)
    found, scale = launch.quantize(both[:, :64])
    alone, alone_scale = launch.quantize(both[:, :64].contiguous())
    assert torch.equal(found.float(), alone.float())
    assert torch.equal(scale, alone_scale)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter, about NaN
def test_zeros_stay_zeros_and_nan_stays_nan() -> None:
    found, scale = launch.quantize(torch.tensor([[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]], device=DEVICE))
    numbers = found.float() * scale
    assert numbers[0].tolist() == [0.0, 0.0]
    assert numbers[1:, 0].isnan().all()


# -- attention --


def attended(q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor, layout: Layout, *, num_queries: int | None = None) -> Tensor:
    group, width = q_THD.shape[1] // k_TGD.shape[1], q_THD.shape[2]
    blocks = launch.blocks_of(width, q_THD.dtype, group=group, num_queries=num_queries)
    tiles = torch.from_numpy(tiles_of(layout.spans, blocks.rows // group)).to(DEVICE)
    out = q_THD.clone().flatten(1)
    launch.attend(out, k_TGD.flatten(1), v_TGD.flatten(1), tiles, blocks, width=width)
    return out.view_as(q_THD)


def tensors(num_tokens: int, shape: tuple[int, int, int] = (6, 2, 16), dtype: torch.dtype = torch.float32) -> list[Tensor]:
    heads, groups, width = shape
    return [draw(num_tokens, count, width, dtype=dtype, seed=seed) for seed, count in enumerate((heads, groups, groups))]


@pytest.mark.parametrize(
    "requests",
    [
        [(0, [1])],
        [(1, [1])],
        [(7, [1, 2, 3])],
        [(0, [16, 17]), (1, [15])],
        [(15, [33]), (16, [10, 11]), (17, [1])],
        [(70, [75, 1]), (0, [3])],
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_token_attends_to_its_prefix_and_its_past(requests: list[tuple[int, list[int]]], dtype: torch.dtype) -> None:
    layout = layout_of(*requests)
    q, k, v = tensors(layout.num_tokens, dtype=dtype)
    exact = attention(q.float(), k.float(), v.float(), layout)
    torch.testing.assert_close(attended(q, k, v, layout).float(), exact, atol=3 * UNIT[dtype], rtol=UNIT[dtype])


@pytest.mark.parametrize("shape", [(1, 1, 16), (2, 2, 80), (5, 1, 34), (40, 1, 16), (4, 2, 128), (2, 1, 256)])
def test_heads_of_any_shape(shape: tuple[int, int, int]) -> None:
    layout = layout_of((5, [20]))
    q, k, v = tensors(layout.num_tokens, shape)
    torch.testing.assert_close(attended(q, k, v, layout), attention(q, k, v, layout), atol=2e-6, rtol=1e-5)


def test_scored_queries_alone_equal_those_among_all() -> None:
    layout = layout_of((20, [30, 2]), (0, [4]))
    q, k, v = tensors(layout.num_tokens)
    whole, rows = attended(q, k, v, layout), layout.scored_rows
    found = attended(q[rows], k, v, layout.pruned(), num_queries=1)
    torch.testing.assert_close(found, whole[rows], atol=1e-6, rtol=1e-5)


def test_queries_outside_of_all_tiles_are_unchanged() -> None:
    layout = layout_of((3, [5, 6]))
    q, k, v = tensors(layout.num_tokens)
    part = Layout(layout.spans[1:2], layout.num_tokens)
    found = attended(q, k, v, part)
    assert torch.equal(found[:3], q[:3])
    assert torch.equal(found[8:], q[8:])
    assert not torch.equal(found[3:8], q[3:8])


def test_tile_without_queries_does_nothing() -> None:
    q, k, v = tensors(4)
    blocks = launch.blocks_of(16, torch.float32, group=3)
    out = q.clone().flatten(1)
    launch.attend(out, k.flatten(1), v.flatten(1), torch.zeros(2, 6, dtype=torch.int32, device=DEVICE), blocks, width=16)
    assert torch.equal(out, q.flatten(1))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter, about poisoned numbers
def test_other_prompts_are_never_read() -> None:
    """With the keys and values of others poisoned, a prompt's result is the same to the bit."""
    layout = layout_of((10, [20, 9]), (5, [12]))
    q, k, v = tensors(layout.num_tokens)
    clean, span = attended(q, k, v, layout), layout.spans[2]
    poisoned = torch.full_like(k, math.nan), torch.full_like(v, math.nan)
    for rows in (span.prefix, span.rows):
        for tensor, source in zip(poisoned, (k, v), strict=True):
            tensor[rows.start : rows.stop] = source[rows.start : rows.stop]
    found = attended(q, *poisoned, layout)
    assert torch.equal(found[span.rows.start : span.rows.stop], clean[span.rows.start : span.rows.stop])


def test_attention_is_causal() -> None:
    layout = layout_of((3, [10]))
    q, k, v = tensors(layout.num_tokens)
    before = attended(q, k, v, layout)
    k[9:], v[9:] = 50.0, -50.0
    after = attended(q, k, v, layout)
    assert torch.equal(before[:9], after[:9])
    assert not torch.equal(before[9:], after[9:])


def test_large_scores_stay_finite() -> None:
    layout = layout_of((4, [20]))
    q, k, v = tensors(layout.num_tokens)
    assert attended(q * 1e4, k * 1e4, v, layout).isfinite().all()


def test_keys_may_be_strided() -> None:
    layout = layout_of((4, [9]))
    q, k, v = tensors(layout.num_tokens)
    both = torch.cat([k.flatten(1), v.flatten(1)], dim=1)
    blocks = launch.blocks_of(16, torch.float32, group=3)
    tiles = torch.from_numpy(tiles_of(layout.spans, blocks.rows // 3)).to(DEVICE)
    out = q.clone().flatten(1)
    keys, values = both.chunk(2, dim=1)
    launch.attend(out, keys, values, tiles, blocks, width=16)
    assert torch.equal(out.view_as(q), attended(q, k, v, layout))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group", [1, 2, 3, 8, 40, 64])
@pytest.mark.parametrize("num_queries", [None, 1])
def test_tile_fits_the_query_heads_of_one_token(dtype: torch.dtype, group: int, num_queries: int | None) -> None:
    blocks = launch.blocks_of(128, dtype, group=group, num_queries=num_queries)
    assert blocks.rows >= max(16, group)
    assert blocks.rows & (blocks.rows - 1) == 0
