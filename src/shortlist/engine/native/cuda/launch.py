"""The kernels as functions of tensors, with grids and block sizes.

Block sizes fit the shared memory of the smallest supported GPUs (Ampere and Ada: 99 KiB).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from shortlist.engine.native.cuda import triton_kernels
from shortlist.engine.native.portable_ops import Rope

MAX_ROWS: Final = 128
"""Maximum rows of queries per tile, over all query heads of one key head."""

MIN_ROWS: Final = 16
"""Minimum rows of a matrix product in Triton."""

FP8: Final = torch.float8_e4m3fn
MOST: Final = torch.finfo(FP8).max
LEAST: Final = 1e-12
"""Lower bound of a row's absmax for its scale; zeros stay zeros."""

_ALWAYS: Final = {"enable_fp_fusion": True}
"""Rounds products and sums together. Explicit, because Triton announced that its default will become off."""


def rms_norm(x_tW: Tensor, weight_W: Tensor, eps: float) -> Tensor:
    """Return `x` normalised like `portable_ops.rms_norm`.

    Shapes:
        x: [t, W], contiguous; weight: [W] fp32.
    """
    out_tW = torch.empty_like(x_tW)
    num_tokens, width = x_tW.shape
    block = _power_of_two(width)
    triton_kernels.rms_norm_kernel[num_tokens,](
        x_tW, weight_W, out_tW, width, eps, BLOCK=block, num_warps=_warps(block), **_ALWAYS
    )
    return out_tW


def norm_and_rotate(x_tX: Tensor, weight_D: Tensor, rope: Rope, eps: float) -> None:
    """Normalise every head and rotate it to its position, in place.

    Shapes:
        x: [t, heads * D], rows may be strided; weight: [D] fp32; rope: of the t tokens.
    """
    num_tokens, width = x_tX.shape
    half = len(weight_D) // 2
    num_heads = width // len(weight_D)
    block = {"BLOCK_HEADS": _power_of_two(num_heads), "BLOCK_HALF": _power_of_two(half)}
    triton_kernels.norm_and_rotate_kernel[num_tokens,](
        *(x_tX, x_tX.stride(0), weight_D, rope.cos_TD, rope.sin_TD, eps),
        **{"NUM_HEADS": num_heads, "HALF": half, **block, "num_warps": 4, **_ALWAYS},
    )


def silu_mul(gate_up_t2I: Tensor) -> Tensor:
    """Return silu(gate) * up, which overwrites gate.

    Shapes:
        gate_up: [t, 2 I], contiguous; result: [t, I], a view of it.
    """
    num_tokens, inner = gate_up_t2I.shape[0], gate_up_t2I.shape[1] // 2
    block = min(_power_of_two(inner), 1024)
    triton_kernels.silu_mul_kernel[num_tokens, -(-inner // block)](gate_up_t2I, inner, BLOCK=block, num_warps=4, **_ALWAYS)
    return gate_up_t2I[:, :inner]


def quantize(x_tX: Tensor) -> tuple[Tensor, Tensor]:
    """Return `x` in 8 bits and the scales: per token, the absmax maps to the largest 8-bit number.

    Shapes:
        x: [t, X], rows may be strided; result: [t, X] float8_e4m3fn, and [t, 1] fp32.
    """
    num_tokens, width = x_tX.shape
    out_tX = torch.empty(num_tokens, width, dtype=FP8, device=x_tX.device)
    scale_t1 = torch.empty(num_tokens, 1, device=x_tX.device)
    block = _power_of_two(width)
    triton_kernels.quantize_kernel[num_tokens,](
        *(x_tX, x_tX.stride(0), out_tX, scale_t1, width, LEAST, MOST), **{"BLOCK": block, "num_warps": _warps(block), **_ALWAYS}
    )
    return out_tX, scale_t1


@dataclass(frozen=True, slots=True)
class Blocks:
    """Block sizes of `attend`. For heads of 128 in 16 bits, all but a few bytes fit the registers.

    Attributes:
        rows: Rows of queries per tile: tokens times the query heads of one key head.
        keys: Keys per block.
        options: Triton options: warps per program, and pipelined blocks of keys.
    """

    rows: int
    keys: int
    options: dict[str, int]


def attend(q_QX: Tensor, k_TX: Tensor, v_TX: Tensor, tiles_N6: Tensor, blocks: Blocks, *, width: int) -> None:
    """Overwrite every query in the tiles with its attention output, like `attention.attention`.

    Shapes:
        q: [num queries, H * D]; k, v: [num tokens, G * D], each with heads of `width` D; rows may be strided. tiles:
        [num tiles, 6] int32, see `attention_tiles.py`; tiles without queries are skipped.
    """
    num_kv_heads = k_TX.shape[1] // width
    factor = math.log2(math.e) / math.sqrt(width)  # a weight is 2 to the power of a scaled product
    grid = len(tiles_N6), num_kv_heads
    sizes = {"GROUP": q_QX.shape[1] // k_TX.shape[1], "WIDTH": width, "BLOCK_M": blocks.rows, "BLOCK_N": blocks.keys}
    triton_kernels.attend_kernel[grid](
        *(q_QX, q_QX.stride(0), k_TX, k_TX.stride(0), v_TX, v_TX.stride(0), tiles_N6, factor),
        **{**sizes, "BLOCK_D": max(_power_of_two(width), MIN_ROWS), **blocks.options, **_ALWAYS},
    )


def blocks_of(width: int, dtype: torch.dtype, *, group: int, num_queries: int | None = None) -> Blocks:
    """Return the block sizes for heads of a width.

    Args:
        width: Width of a head.
        dtype: Dtype of queries, keys and values.
        group: Query heads per key head.
        num_queries: Queries of the longest span, if it is known to be short.
    """
    if dtype == torch.float32:  # multiplied in registers, without the matrix unit
        rows, keys, warps, stages = 32, 16, 4, 1
    elif width > 128:
        rows, keys, warps, stages = 64, 32, 4, 2
    else:
        rows, keys, warps, stages = MAX_ROWS, 64, 8, 2
    if num_queries is not None:
        rows = min(rows, max(MIN_ROWS, _power_of_two(num_queries * group)))
        warps = 4
    return Blocks(max(rows, _power_of_two(group)), keys, {"num_warps": warps, "num_stages": stages})


def _power_of_two(count: int) -> int:
    """Return the smallest power of two that is at least `count`."""
    return 1 << (count - 1).bit_length()


def _warps(block: int) -> int:
    return min(max(block // 256, 1), 8)
