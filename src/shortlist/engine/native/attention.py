"""Attention over packed prompts with shared prefixes, in plain torch: any device, any dtype.

The reference for other implementations.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from shortlist.engine.native.layout import Layout

QUERY_BLOCK: Final = 128
"""Rows of scores in memory at once; bounds memory to heads x block x longest prompt."""


def attention(q_QHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, layout: Layout) -> Tensor:
    """Return the attention output of every query.

    A query attends to the shared prefix of its span and, causally, to the span itself. Scores and softmax are in fp32; query
    heads share key heads in groups of H / G. Memory does not grow with the packed sequence.

    Shapes:
        q_QHD: [num queries, query heads, head_dim]; k_TGD, v_TGD: [num tokens, key heads, head_dim]; result as q_QHD.
    """
    out_QHD = torch.empty_like(q_QHD)
    for span in layout.spans:
        k_SGD, v_SGD = (_rows(tensor, span.prefix, span.rows) for tensor in (k_TGD, v_TGD))
        rows = slice(span.queries.start, span.queries.stop)
        _attend(q_QHD[rows], k_SGD, v_SGD, out_QHD[rows])
    return out_QHD


def _rows(tensor_TGD: Tensor, prefix: range, own: range) -> Tensor:
    if not prefix or prefix.stop == own.start:
        return tensor_TGD[(prefix or own).start : own.stop]
    return torch.cat([tensor_TGD[prefix.start : prefix.stop], tensor_TGD[own.start : own.stop]])


def _attend(q_QHD: Tensor, k_SGD: Tensor, v_SGD: Tensor, out_QHD: Tensor) -> None:
    """Fill `out_QHD`; the queries belong to the last tokens of the keys."""
    num_queries, num_heads, width = q_QHD.shape
    num_keys, groups, _ = k_SGD.shape
    first = num_keys - num_queries
    k_GDS = k_SGD.float().permute(1, 2, 0)
    v_GSD = v_SGD.transpose(0, 1)
    for start in range(0, num_queries, QUERY_BLOCK):
        stop = min(start + QUERY_BLOCK, num_queries)
        seen = first + stop
        # The query heads of one key head are stacked into one product.
        q_GrnD = q_QHD[start:stop].view(stop - start, groups, -1, width).permute(1, 2, 0, 3)
        q_GMD = q_GrnD.reshape(groups, -1, width).float() / math.sqrt(width)
        scores_GMS = torch.bmm(q_GMD, k_GDS[:, :, :seen])
        _hide_future(scores_GMS.view(groups, -1, stop - start, seen)[..., first + start :])
        weights_GMS = torch.softmax(scores_GMS, dim=-1).to(v_SGD.dtype)
        mixed_GMD = torch.bmm(weights_GMS, v_GSD[:, :seen])
        mixed_nHD = mixed_GMD.view(groups, -1, stop - start, width).permute(2, 0, 1, 3)
        out_QHD[start:stop] = mixed_nHD.reshape(stop - start, num_heads, width)


def _hide_future(scores_GRnn: Tensor) -> None:
    size = scores_GRnn.shape[-1]
    if size > 1:
        future_nn = torch.ones(size, size, dtype=torch.bool, device=scores_GRnn.device).triu_(1)
        scores_GRnn.masked_fill_(future_nn, -math.inf)
