"""Triton kernels for everything between the matrix products of a layer. Imports Triton.

All compute in fp32 and round once, to the dtype of their output. None syncs with the host or depends on the number of tokens,
so all fit into a CUDA graph. `launch.py` has their shapes and grids.
"""

# The kernels have no type annotations but constexpr: Triton resolves every name in an annotation and supports no Python types.

import triton
import triton.language as tl

TILE_FIELDS = tl.constexpr(6)
"""Numbers per tile of queries; see `attention_tiles.py`."""


@triton.jit
def rms_norm_kernel(x_ptr, weight_ptr, out_ptr, width, eps, BLOCK: tl.constexpr):
    """One row per program."""
    start = tl.program_id(0).to(tl.int64) * width
    at = tl.arange(0, BLOCK)
    is_here = at < width
    x = tl.load(x_ptr + start + at, mask=is_here, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / width + eps)
    weight = tl.load(weight_ptr + at, mask=is_here, other=0.0)
    tl.store(out_ptr + start + at, x * scale * weight, mask=is_here)


@triton.jit
def norm_and_rotate_kernel(
    x_ptr,
    x_stride,
    weight_ptr,
    cos_ptr,
    sin_ptr,
    eps,
    NUM_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_HEADS: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
):
    """All heads of one token per program, in place."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, BLOCK_HEADS)[:, None]
    at = tl.arange(0, BLOCK_HALF)
    is_half = at < HALF
    is_here = (head < NUM_HEADS) & is_half[None, :]
    first_ptr = x_ptr + token * x_stride + head * (2 * HALF) + at[None, :]
    first = tl.load(first_ptr, mask=is_here, other=0.0).to(tl.float32)
    second = tl.load(first_ptr + HALF, mask=is_here, other=0.0).to(tl.float32)
    squares = tl.sum(first * first, axis=1) + tl.sum(second * second, axis=1)
    scale = tl.rsqrt(squares / (2 * HALF) + eps)[:, None]
    first = first * scale * tl.load(weight_ptr + at, mask=is_half, other=0.0)[None, :]
    second = second * scale * tl.load(weight_ptr + HALF + at, mask=is_half, other=0.0)[None, :]
    cos = tl.load(cos_ptr + token * HALF + at, mask=is_half, other=0.0)[None, :]
    sin = tl.load(sin_ptr + token * HALF + at, mask=is_half, other=0.0)[None, :]
    tl.store(first_ptr, first * cos - second * sin, mask=is_here)
    tl.store(first_ptr + HALF, second * cos + first * sin, mask=is_here)


@triton.jit
def silu_mul_kernel(x_ptr, width, BLOCK: tl.constexpr):
    """A block of one row per program: silu(gate) * up overwrites gate, which is stored before up."""
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_here = at < width
    gate_ptr = x_ptr + tl.program_id(0).to(tl.int64) * (2 * width) + at
    gate = tl.load(gate_ptr, mask=is_here, other=0.0).to(tl.float32)
    up = tl.load(gate_ptr + width, mask=is_here, other=0.0).to(tl.float32)
    tl.store(gate_ptr, gate * tl.sigmoid(gate) * up, mask=is_here)


@triton.jit
def quantize_kernel(x_ptr, x_stride, out_ptr, scale_ptr, width, least, most, BLOCK: tl.constexpr):
    """One token per program: its numbers in 8 bits, and their scale."""
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    is_here = at < width
    x = tl.load(x_ptr + token * x_stride + at, mask=is_here, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(x), axis=0), least) / most
    tl.store(out_ptr + token * width + at, (x / scale).to(out_ptr.dtype.element_ty), mask=is_here)
    tl.store(scale_ptr + token, scale)


@triton.jit
def _gather(
    q,
    state,
    k_ptr,
    k_stride,
    v_ptr,
    v_stride,
    start,
    stop,
    limit,
    factor,
    WIDTH: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    IS_MASKED: tl.constexpr,
):
    """Update the running softmax of queries with keys `start` to `stop`; with a mask, each query uses keys below its limit.

    The state has, per query, the largest score so far, the sum of the weights relative to it, and the weighted sum of values.

    Source: Milakov and Gimelshein 2018, algorithm 3; Dao 2023, section 3.1.
    """
    most, total, mixed = state
    at_d = tl.arange(0, BLOCK_D)[None, :]
    for first in range(start, stop, BLOCK_N):
        key = first + tl.arange(0, BLOCK_N)
        is_here = (key < stop)[:, None] & (at_d < WIDTH)
        row = key.to(tl.int64)[:, None]
        k = tl.load(k_ptr + row * k_stride + at_d, mask=is_here, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee")
        if IS_MASKED:
            scores = tl.where(key[None, :] < limit[:, None], scores, float("-inf"))
        now_most = tl.maximum(most, tl.max(scores, axis=1) * factor)
        fading = tl.exp2(most - now_most)
        weights = tl.exp2(scores * factor - now_most[:, None])  # one instruction; scores scaled before would take two
        v = tl.load(v_ptr + row * v_stride + at_d, mask=is_here, other=0.0)
        mixed = tl.dot(weights.to(v.dtype), v, mixed * fading[:, None], input_precision="ieee")
        total = total * fading + tl.sum(weights, axis=1)
        most = now_most
    return most, total, mixed


@triton.jit
def _look(
    q,
    state,
    k_ptr,
    k_stride,
    v_ptr,
    v_stride,
    seen,
    stop,
    limit,
    factor,
    WIDTH: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Update the running softmax with keys up to `stop`. All queries attend to the first `seen`; only later keys are masked."""
    whole = seen // BLOCK_N * BLOCK_N
    state = _gather(
        q, state, k_ptr, k_stride, v_ptr, v_stride, 0, whole, limit, factor, WIDTH, BLOCK_N, BLOCK_D, IS_MASKED=False
    )
    return _gather(
        q, state, k_ptr, k_stride, v_ptr, v_stride, whole, stop, limit, factor, WIDTH, BLOCK_N, BLOCK_D, IS_MASKED=True
    )


@triton.jit
def attend_kernel(
    q_ptr,
    q_stride,
    k_ptr,
    k_stride,
    v_ptr,
    v_stride,
    tiles_ptr,
    factor,
    GROUP: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One tile of queries and one key head per program; its query heads are rows of the same products.

    The output overwrites the queries: no other program reads them.
    """
    tile_ptr = tiles_ptr + tl.program_id(0) * TILE_FIELDS
    num_queries = tl.load(tile_ptr + 1)
    if num_queries > 0:
        q_row, first = tl.load(tile_ptr), tl.load(tile_ptr + 3)
        span, prefix = tl.load(tile_ptr + 2).to(tl.int64), tl.load(tile_ptr + 4).to(tl.int64)
        num_prefix = tl.load(tile_ptr + 5)
        k_ptr += tl.program_id(1) * WIDTH
        v_ptr += tl.program_id(1) * WIDTH

        at_m = tl.arange(0, BLOCK_M)
        at_d = tl.arange(0, BLOCK_D)[None, :]
        query, query_head = at_m // GROUP, tl.program_id(1) * GROUP + at_m % GROUP
        is_query = (query < num_queries)[:, None] & (at_d < WIDTH)
        out_ptr = q_ptr + ((q_row + query).to(tl.int64) * q_stride + query_head * WIDTH)[:, None] + at_d
        q = tl.load(out_ptr, mask=is_query, other=0.0)

        most = tl.full([BLOCK_M], float("-inf"), tl.float32)
        state = most, tl.zeros([BLOCK_M], tl.float32), tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
        ends = tl.zeros([BLOCK_M], tl.int32) + num_prefix
        state = _look(
            *(q, state, k_ptr + prefix * k_stride, k_stride, v_ptr + prefix * v_stride, v_stride),
            *(num_prefix, num_prefix, ends, factor, WIDTH, BLOCK_N, BLOCK_D),
        )
        # The first query attends to its span up to itself, every further query to one token more.
        state = _look(
            *(q, state, k_ptr + span * k_stride, k_stride, v_ptr + span * v_stride, v_stride),
            *(first + 1, first + num_queries, first + 1 + query, factor, WIDTH, BLOCK_N, BLOCK_D),
        )
        _, total, mixed = state
        tl.store(out_ptr, mixed / total[:, None], mask=is_query)
