"""Long attention over one document equals plain attention and changes nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shortlist.engine.native.attention import attention
from shortlist.engine.native.cuda import long_attention as module
from shortlist.engine.native.cuda.long_attention import attend_long, rounded
from tests.support.interpreter import DEVICE
from tests.support.native import layout_of

H, G, D = 6, 2, 16
DTYPE, BOUND = (torch.float32, 1e-5) if DEVICE.type == "cpu" else (torch.bfloat16, 2e-2)
"""cuDNN computes in 16 bits only."""

LAYOUTS = {
    "without a prefix": (layout_of((0, [70])), 0),
    "right after its prefix": (layout_of((9, [40, 3])), 1),
    "after others": (layout_of((9, [3, 40]), (4, [5])), 2),
    "as long as its padding": (layout_of((8, [56])), 1),
}


def tensors(num_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, and keys and values as halves of one product."""
    draw = torch.Generator().manual_seed(0)
    q_TX, kv_TX = (torch.randn(num_tokens, heads * D, generator=draw).to(DEVICE, DTYPE) for heads in (H, 2 * G))
    k_TX, v_TX = kv_TX.chunk(2, dim=1)
    return q_TX, k_TX, v_TX


@pytest.mark.parametrize("name", LAYOUTS)
def test_queries_of_one_span_equal_plain_attention(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(module, "MULTIPLE", 64)
    layout, which = LAYOUTS[name]
    span = layout.spans[which]
    q_TX, k_TX, v_TX = tensors(layout.num_tokens)
    before = q_TX.clone()
    q_THD, k_TGD, v_TGD = (x_TX.float().unflatten(1, (-1, D)) for x_TX in (q_TX, k_TX, v_TX))  # type: ignore[no-untyped-call]
    exact = attention(q_THD, k_TGD, v_TGD, layout).flatten(1)
    attend_long(q_TX, k_TX, v_TX, span, width=D)
    own = slice(span.rows.start, span.rows.stop)
    torch.testing.assert_close(q_TX[own].float(), exact[own], atol=BOUND, rtol=BOUND)
    before[own] = q_TX[own]
    assert torch.equal(q_TX, before)


@pytest.mark.parametrize(("num_tokens", "expected"), [(4097, 5120), (5120, 5120), (5121, 6144)])
def test_lengths_are_few(num_tokens: int, expected: int) -> None:
    assert rounded(num_tokens) == expected
