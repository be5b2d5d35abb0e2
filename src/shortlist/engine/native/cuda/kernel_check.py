"""Compares the kernels with plain torch before they are used: on the device, in the dtype and shape of the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.cuda import launch
from shortlist.engine.native.cuda.attention_tiles import tiles_of
from shortlist.engine.native.cuda.cuda_ops import CudaOps, TileConfig
from shortlist.engine.native.cuda.long_attention import LONG_TOKENS, attend_long
from shortlist.engine.native.layout import Layout, PackedSpan
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.portable_ops import PortableOps, Rope

PREFIX_TOKENS: Final = 9
LENGTHS: Final = (21, 1)
"""Tokens of a shared prefix and of its prompts: more than one block of keys in fp32, and less than one."""

BOUND: Final = 2e-2
"""Relative error, root mean square: a few roundings of bf16, whose unit is 2**-8."""

REPEATS: Final = 3


class KernelMismatch(RuntimeError):
    """A kernel's results differ from plain torch."""


def check_kernels(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> None:
    """Compute the operations of one layer and compare them with plain torch in fp32.

    Raises:
        KernelMismatch: the results differ by more than rounding.
        TritonError, RuntimeError, OSError, SubprocessError: a kernel could not be compiled or launched.
    """
    layout = _layout()
    draw = torch.Generator().manual_seed(0)

    def numbers(width: int, rows: int = layout.num_tokens) -> Tensor:
        return torch.randn(rows, width, generator=draw).to(device=device, dtype=dtype)

    def weight(width: int) -> Tensor:
        return (1 + torch.randn(width, generator=draw) / 5).to(device)

    hidden_TW, gate_up_TI = numbers(config.hidden_size), numbers(2 * config.intermediate_size)
    states = [numbers(heads * config.head_dim) for heads in (config.num_heads, config.num_kv_heads, config.num_kv_heads)]
    norm_W, weights = weight(config.hidden_size), (weight(config.head_dim), weight(config.head_dim))
    rope = Rope.of(torch.arange(layout.num_tokens, device=device), config)
    plain = PortableOps(config, torch.float32, rope, layout)
    tile_config = TileConfig.of(config, dtype)
    tiles = tiles_of(layout.spans, tile_config.tile_tokens), tiles_of(layout.pruned().spans, 1)
    tiles_N6, scored_tiles_B6 = (torch.from_numpy(each).to(device) for each in tiles)
    cuda = CudaOps(config, tile_config, rope, tiles_N6, scored_tiles_B6)
    gate_TI, up_TI = gate_up_TI.float().chunk(2, dim=1)
    gated_TI = F.silu(gate_TI) * up_TI
    _compare("a norm", cuda.norm(hidden_TW, norm_W), plain.norm(hidden_TW.float(), norm_W))
    expected = _attended(plain, [each.float() for each in states], weights, layout)
    for result, exact in zip(_attended(cuda, [each.clone() for each in states], weights, layout), expected, strict=True):
        _compare("attention", result, exact)
    _compare("SwiGLU", launch.silu_mul(gate_up_TI), gated_TI)


def check_long_attention(
    config: Qwen3Config, dtype: torch.dtype, device: torch.device, num_tokens: int = 2 * LONG_TOKENS
) -> tuple[float, float]:
    """Compute attention over one long document with Triton and with `attend_long`; return the seconds of each.

    Raises:
        KernelMismatch: the results differ by more than rounding.
        RuntimeError: cuDNN does not support the shape or the device.
    """
    prefix, own = range(PREFIX_TOKENS), range(PREFIX_TOKENS, PREFIX_TOKENS + num_tokens)
    span = PackedSpan(own, own, prefix, is_scored=True)
    draw = torch.Generator(device).manual_seed(0)
    q_TX, k_TX, v_TX = (
        torch.randn(own.stop, heads * config.head_dim, generator=draw, device=device).to(dtype)
        for heads in (config.num_heads, config.num_kv_heads, config.num_kv_heads)
    )
    tile_config = TileConfig.of(config, dtype)
    tiles_N6 = torch.from_numpy(tiles_of([span], tile_config.tile_tokens)).to(device)

    def by_triton(q_TX: Tensor) -> None:
        launch.attend(q_TX, k_TX, v_TX, tiles_N6, tile_config.blocks, width=config.head_dim)

    def by_cudnn(q_TX: Tensor) -> None:
        attend_long(q_TX, k_TX, v_TX, span, width=config.head_dim)

    results = [q_TX.clone(), q_TX.clone()]
    for attend, result in zip((by_triton, by_cudnn), results, strict=True):
        attend(result)
    _compare("cuDNN's attention", results[1][PREFIX_TOKENS:], results[0][PREFIX_TOKENS:].float())
    triton_s, cudnn_s = (_seconds(attend, q_TX.clone(), device) for attend in (by_triton, by_cudnn))
    return triton_s, cudnn_s


def _seconds(attend: Callable[[Tensor], None], q_TX: Tensor, device: torch.device) -> float:
    """Return the duration of the fastest of several calls."""
    spent_s = []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        attend(q_TX)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent_s.append(time.perf_counter() - started_s)
    return min(spent_s)


def _attended(
    ops: CudaOps | PortableOps, states: list[Tensor], weights: tuple[Tensor, Tensor], layout: Layout
) -> tuple[Tensor, Tensor]:
    """Return the attention output of all tokens, and that of the scored tokens computed separately."""
    q_TX, k_TX, v_TX = states
    rows = slice(0, layout.num_tokens)
    rows_B = torch.tensor(layout.scored_rows, device=q_TX.device)
    q_BX = q_TX[rows_B]
    ops.write_q(q_TX, weights[0], rows)
    ops.write_kv(k_TX, v_TX, weights[1], rows)
    return ops.attend().clone(), ops.attend_scored(q_BX, weights[0], rows_B)


def _compare(what: str, result: Tensor, exact: Tensor) -> None:
    error = (result.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    if not error <= BOUND:  # NaN fails, too
        raise KernelMismatch(f"{what} has a relative error of {float(error):.2g}, more than rounding")


def _layout() -> Layout:
    prefix = range(PREFIX_TOKENS)
    spans = [PackedSpan(prefix, prefix, range(0), is_scored=False)]
    for length in LENGTHS:
        own = range(spans[-1].rows.stop, spans[-1].rows.stop + length)
        spans.append(PackedSpan(own, own, prefix, is_scored=True))
    return Layout(tuple(spans), spans[-1].rows.stop)
