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
"""Documents with more tokens are long, and not part of a CUDA graph."""

MULTIPLE: Final = 1024
"""Lengths are rounded up to multiples of this: at most a quarter of padding, and nine plans for up to 13,000 tokens."""

CUDNN: Final = [SDPBackend.CUDNN_ATTENTION]
ANY: Final = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""Backends on a CPU, for tests."""


def attend_long(q_TX: Tensor, k_TX: Tensor, v_TX: Tensor, span: PackedSpan, *, width: int) -> None:
    """Overwrite the queries of a span with their attention output: over its shared prefix and, causally, itself.

    Shapes:
        q: [num tokens, H * D]; k, v: [num tokens, G * D], each with heads of `width` D; rows may be strided.

    Raises:
        RuntimeError: cuDNN does not support the shape or the device.
    """
    before, length = len(span.prefix), rounded(len(span.prefix) + len(span.rows))
    q_HLD, k_GLD, v_GLD = (_laid_out(x_TX, span, length, width) for x_TX in (q_TX, k_TX, v_TX))
    with sdpa_kernel(CUDNN if q_TX.is_cuda else ANY):
        out_HLD = F.scaled_dot_product_attention(q_HLD[None], k_GLD[None], v_GLD[None], is_causal=True, enable_gqa=True)[0]
    own_LHD = out_HLD[:, before : before + len(span.rows)].transpose(0, 1)
    q_TX[_rows(span.rows)].view(len(span.rows), -1, width).copy_(own_LHD)


def rounded(num_tokens: int) -> int:
    """Return the padded length for `num_tokens`."""
    return -(-num_tokens // MULTIPLE) * MULTIPLE


def _laid_out(x_TX: Tensor, span: PackedSpan, length: int, width: int) -> Tensor:
    """Return the heads of a span's tokens, after those of its shared prefix. Padding comes last, so no token attends to it.

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
