"""Attention over a long document by cuDNN, whose kernels target GPUs from Hopper on.

A check at start decides whether it is used (`support.py`). cuDNN makes a plan for every new shape, which takes longer than
attention itself. So a document is laid out alone, after its prefix, in one of few lengths. Imports without Triton.
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from shortlist.engine.native.layout import PackedSpan
from shortlist.engine.native.linears import GRAPH_TOKENS

LONG_TOKENS: Final = GRAPH_TOKENS
"""A longer document is a long one, and no part of a CUDA graph."""

MULTIPLE: Final = 1024
"""Lengths are rounded up to multiples of this: at most a quarter too long, and nine plans for up to 13,000 tokens."""

CUDNN: Final = [SDPBackend.CUDNN_ATTENTION]
ANY: Final = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""On a CPU, for tests."""


def attend_long(q_TX: Tensor, k_TX: Tensor, v_TX: Tensor, span: PackedSpan, *, width: int) -> None:
    """Replace the queries of a run by what they gather from its head and, causally, from itself.

    Shapes:
        q: [num tokens, H * D]; k, v: [num tokens, G * D], each with heads of `width` D; their rows may lie further apart than
        they are wide.

    Raises:
        RuntimeError: cuDNN cannot compute it here.
    """
    before, length = len(span.prefix), rounded(len(span.prefix) + len(span.rows))
    q_HLD, k_GLD, v_GLD = (_laid_out(x_TX, span, length, width) for x_TX in (q_TX, k_TX, v_TX))
    with sdpa_kernel(CUDNN if q_TX.is_cuda else ANY):
        found_HLD = F.scaled_dot_product_attention(q_HLD[None], k_GLD[None], v_GLD[None], is_causal=True, enable_gqa=True)[0]
    own_LHD = found_HLD[:, before : before + len(span.rows)].transpose(0, 1)
    q_TX[_rows(span.rows)].view(len(span.rows), -1, width).copy_(own_LHD)


def rounded(num_tokens: int) -> int:
    """Return the length that so many tokens are laid out in."""
    return -(-num_tokens // MULTIPLE) * MULTIPLE


def _laid_out(x_TX: Tensor, span: PackedSpan, length: int, width: int) -> Tensor:
    """Return the heads of a run's tokens after those before it. What pads them comes last, and so no token sees it.

    Shapes:
        result: [heads, length, width].
    """
    x_LX = x_TX.new_zeros(length, x_TX.shape[1])
    before = len(span.prefix)
    x_LX[:before] = x_TX[_rows(span.prefix)]
    x_LX[before : before + len(span.rows)] = x_TX[_rows(span.rows)]
    return x_LX.view(length, -1, width).transpose(0, 1)


def _rows(span: range) -> slice:
    return slice(span.start, span.stop)
