"""Attention against the plain formula, written out here with one full mask."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from shortlist.engine.native.attention import attention
from shortlist.engine.native.layout import Layout, PackedSpan
from tests.support.native import layout_of

HEADS, GROUPS, WIDTH = 6, 2, 16


def tensors(num_tokens: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    sizes = (num_tokens, HEADS, WIDTH), (num_tokens, GROUPS, WIDTH), (num_tokens, GROUPS, WIDTH)
    q, k, v = (torch.randn(size, generator=draw).to(dtype) for size in sizes)
    return q, k, v


def expected(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """One softmax over the whole sequence, with everything else masked."""
    is_visible = torch.zeros(layout.num_tokens, layout.num_tokens, dtype=torch.bool)
    for span in layout.spans:
        for row in span.rows:
            is_visible[row, list(span.prefix)] = True
            is_visible[row, span.rows.start : row + 1] = True
    k, v = (tensor.double().repeat_interleave(HEADS // GROUPS, dim=1) for tensor in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q.double(), k) / math.sqrt(WIDTH)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~is_visible, -math.inf).softmax(-1), v)


@pytest.mark.parametrize(
    "requests",
    [
        [(0, [1])],
        [(0, [5])],
        [(1, [1])],
        [(7, [1, 2, 3])],
        [(40, [127]), (3, [128]), (0, [129])],
        [(200, [300, 1, 130]), (0, [17, 256]), (1, [64])],
        [(128, [128, 128])],
    ],
)
def test_every_token_attends_to_its_prefix_and_its_past(requests: list[tuple[int, list[int]]]) -> None:
    layout = layout_of(*requests)
    q, k, v = tensors(layout.num_tokens)
    torch.testing.assert_close(attention(q, k, v, layout), expected(q, k, v, layout).float(), atol=2e-6, rtol=1e-5)


def test_fewer_queries_than_keys_are_aligned_at_the_end() -> None:
    layout = layout_of((20, [30, 200]))
    q, k, v = tensors(layout.num_tokens)
    whole = attention(q, k, v, layout)
    tails = tuple(
        PackedSpan(range(5 * at, 5 * at + 5), span.rows, span.prefix, is_scored=True)
        for at, span in enumerate(span for span in layout.spans if span.is_scored)
    )
    rows = [row for span in tails for row in span.rows[-5:]]
    tail = attention(q[rows], k, v, Layout(tails, layout.num_tokens))
    torch.testing.assert_close(tail, whole[rows], atol=1e-6, rtol=1e-5)


def test_pruned_layout_has_one_query_per_prompt() -> None:
    layout = layout_of((20, [30, 2]), (0, [4]))
    assert layout.scored_rows == [49, 51, 55]
    pruned = layout.pruned()
    assert [span.queries for span in pruned.spans] == [range(1), range(1, 2), range(2, 3)]
    q, k, v = tensors(layout.num_tokens)
    whole = attention(q, k, v, layout)[layout.scored_rows]
    torch.testing.assert_close(attention(q[layout.scored_rows], k, v, pruned), whole, atol=1e-6, rtol=1e-5)


def test_other_prompts_are_never_read() -> None:
    """With the keys and values of others poisoned, a prompt's result is the same to the bit."""
    layout = layout_of((10, [20, 30]), (5, [40]))
    q, k, v = tensors(layout.num_tokens)
    clean = attention(q, k, v, layout)
    span = layout.spans[2]
    poisoned = torch.full_like(k, math.nan), torch.full_like(v, math.nan)
    for rows in (span.prefix, span.rows):
        for tensor, source in zip(poisoned, (k, v), strict=True):
            tensor[rows.start : rows.stop] = source[rows.start : rows.stop]
    found = attention(q, *poisoned, layout)
    assert torch.equal(found[span.rows.start : span.rows.stop], clean[span.rows.start : span.rows.stop])


def test_attention_is_causal() -> None:
    layout = layout_of((3, [10]))
    q, k, v = tensors(layout.num_tokens)
    before = attention(q, k, v, layout)
    k[9:], v[9:] = 50.0, -50.0
    after = attention(q, k, v, layout)
    assert torch.equal(before[:9], after[:9])
    assert not torch.equal(before[9:], after[9:])


def test_large_scores_stay_finite() -> None:
    layout = layout_of((4, [6]))
    q, k, v = tensors(layout.num_tokens)
    assert attention(q * 1e4, k * 1e4, v, layout).isfinite().all()


def test_sixteen_bits_round_only_inputs_and_outputs() -> None:
    layout = layout_of((50, [100, 200]))
    q, k, v = tensors(layout.num_tokens, dtype=torch.bfloat16)
    found = attention(q, k, v, layout)
    assert found.dtype == torch.bfloat16
    error = (found.double() - expected(q, k, v, layout)).square().mean().sqrt()
    assert error < 2e-3


def test_inputs_are_unchanged() -> None:
    layout = layout_of((5, [10]))
    given = tensors(layout.num_tokens)
    copies = [tensor.clone() for tensor in given]
    attention(*given, layout)
    assert all(torch.equal(one, copy) for one, copy in zip(given, copies, strict=True))
