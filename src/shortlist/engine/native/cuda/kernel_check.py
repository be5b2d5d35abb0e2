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
"""Of a head and its prompts: more than one block of keys in fp32, and less than one."""

BOUND: Final = 2e-2
"""Relative error, root mean square: a few roundings of bf16, whose unit is 2**-8."""

REPEATS: Final = 3


class KernelMismatch(RuntimeError):
    """A kernel gave other numbers than plain torch."""


def check_kernels(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> None:
    """Compute a step of one layer, and compare it with plain torch in fp32.

    Raises:
        KernelMismatch: they differ by more than rounding.
        TritonError, RuntimeError, OSError, SubprocessError: a kernel could not be compiled or launched.
    """
    layout = _layout()
    draw = torch.Generator().manual_seed(0)

    def numbers(width: int, rows: int = layout.num_tokens) -> Tensor:
        return torch.randn(rows, width, generator=draw).to(device=device, dtype=dtype)

    def weight(width: int) -> Tensor:
        return (1 + torch.randn(width, generator=draw) / 5).to(device)

    hidden_TW, gate_up_TI = numbers(config.hidden_size), numbers(2 * config.intermediate_size)
    given = [numbers(heads * config.head_dim) for heads in (config.num_heads, config.num_kv_heads, config.num_kv_heads)]
    norm_W, weights = weight(config.hidden_size), (weight(config.head_dim), weight(config.head_dim))
    rope = Rope.of(torch.arange(layout.num_tokens, device=device), config)
    exact = PortableOps(config, torch.float32, rope, layout)
    tile_config = TileConfig.of(config, dtype)
    tiles = tiles_of(layout.spans, tile_config.tile_tokens), tiles_of(layout.pruned().spans, 1)
    tiles_N6, scored_tiles_B6 = (torch.from_numpy(each).to(device) for each in tiles)
    ours = CudaOps(config, tile_config, rope, tiles_N6, scored_tiles_B6)
    gate_TI, up_TI = gate_up_TI.float().chunk(2, dim=1)
    gated_TI = F.silu(gate_TI) * up_TI
    _compare("a norm", ours.norm(hidden_TW, norm_W), exact.norm(hidden_TW.float(), norm_W))
    expected = _attended(exact, [each.float() for each in given], weights, layout)
    for found, each in zip(_attended(ours, [each.clone() for each in given], weights, layout), expected, strict=True):
        _compare("attention", found, each)
    _compare("SwiGLU", launch.silu_mul(gate_up_TI), gated_TI)


def check_long_attention(
    config: Qwen3Config, dtype: torch.dtype, device: torch.device, num_tokens: int = 2 * LONG_TOKENS
) -> tuple[float, float]:
    """Attend over one long document, by our kernel and by `attend_long`; return the seconds that each took.

    Raises:
        KernelMismatch: they differ by more than rounding.
        RuntimeError: cuDNN cannot compute it here.
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

    def ours(q_TX: Tensor) -> None:
        launch.attend(q_TX, k_TX, v_TX, tiles_N6, tile_config.blocks, width=config.head_dim)

    def theirs(q_TX: Tensor) -> None:
        attend_long(q_TX, k_TX, v_TX, span, width=config.head_dim)

    found = [q_TX.clone(), q_TX.clone()]
    for act, place in zip((ours, theirs), found, strict=True):
        act(place)
    _compare("cuDNN's attention", found[1][PREFIX_TOKENS:], found[0][PREFIX_TOKENS:].float())
    ours_s, theirs_s = (_seconds(act, q_TX.clone(), device) for act in (ours, theirs))
    return ours_s, theirs_s


def _seconds(act: Callable[[Tensor], None], q_TX: Tensor, device: torch.device) -> float:
    """Return what one call takes at its fastest."""
    spent_s = []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        act(q_TX)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent_s.append(time.perf_counter() - started_s)
    return min(spent_s)


def _attended(
    step: CudaOps | PortableOps, given: list[Tensor], weights: tuple[Tensor, Tensor], layout: Layout
) -> tuple[Tensor, Tensor]:
    """Return what all tokens gather, and what the scored ones do by themselves."""
    q_TX, k_TX, v_TX = given
    rows = slice(0, layout.num_tokens)
    rows_B = torch.tensor(layout.scored_rows, device=q_TX.device)
    q_BX = q_TX[rows_B]
    step.write_q(q_TX, weights[0], rows)
    step.write_kv(k_TX, v_TX, weights[1], rows)
    return step.attend().clone(), step.attend_scored(q_BX, weights[0], rows_B)


def _compare(what: str, found: Tensor, exact: Tensor) -> None:
    error = (found.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    if not error <= BOUND:  # nor if it is not a number
        raise KernelMismatch(f"{what} is off by {float(error):.2g} of its size")


def _layout() -> Layout:
    prefix = range(PREFIX_TOKENS)
    spans = [PackedSpan(prefix, prefix, range(0), is_scored=False)]
    for length in LENGTHS:
        own = range(spans[-1].rows.stop, spans[-1].rows.stop + length)
        spans.append(PackedSpan(own, own, prefix, is_scored=True))
    return Layout(tuple(spans), spans[-1].rows.stop)
