"""The Qwen3 transformer, prefill only: packed token ids in, the final state of the scored tokens out.

Knows the architecture and its numerics: norms, rotary positions, softmax and the final state in fp32, the rest in the
compute dtype. Everything but attention runs over chunks of tokens, so peak memory is a few rows per token. Knows nothing
of files, requests or what the states are used for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.attention import Layout, attention
from shortlist.engine.native.config import Qwen3Config

CHUNK_TOKENS: Final = 512
"""Tokens per matrix product: enough to fill the processor, few enough for the activations to stay in its cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """One layer: H query heads, G key heads of width D; hidden width W; inner width I. Norms are fp32.

    Shapes:
        q: [H*D, W]; k, v: [G*D, W]; o: [W, H*D]; gate, up: [I, W]; down: [W, I];
        attention_norm, mlp_norm: [W]; q_norm, k_norm: [D].
    """

    attention_norm: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    q_norm: Tensor
    k_norm: Tensor
    mlp_norm: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3Weights:
    """A whole model.

    Shapes:
        embedding: [vocabulary, W]; norm: [W] fp32; answer: [W] fp32, for rerankers only; answers: each [W] fp32, the rows
        that `answer` is made of, by name.
    """

    embedding: Tensor
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    answer: Tensor | None = None
    answers: Mapping[str, Tensor] = field(default_factory=dict)


class Qwen3:
    """Computes final states.

    Args:
        config: The shape.
        weights: All on one device, matrices in one dtype.
        chunk_tokens: Tokens per matrix product.
        is_pruned: Whether the last layer computes only what the scored tokens need. Off only to test that it may be on.
    """

    def __init__(
        self, config: Qwen3Config, weights: Qwen3Weights, *, chunk_tokens: int = CHUNK_TOKENS, is_pruned: bool = True
    ) -> None:
        self.config = config
        self.weights = weights
        self.chunk_tokens = chunk_tokens
        self.is_pruned = is_pruned
        self._frequency_D = _frequencies(config).to(weights.embedding.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weights.embedding.device

    def final_states(self, ids_T: Tensor, positions_T: Tensor, layout: Layout) -> Tensor:
        """Return the normalised final state of every scored token, in the layout's order.

        Shapes:
            ids_T, positions_T: [num tokens] int64; result: [num scored, hidden width] fp32.
        """
        hidden_TW = F.embedding(ids_T, self.weights.embedding)
        rope = _angles(positions_T, self._frequency_D)
        rows_B = torch.tensor(layout.scored_rows, device=self.device)
        *layers, last = self.weights.layers
        for layer in layers:
            self._layer(layer, hidden_TW, rope, layout)
        if self.is_pruned:
            hidden_BW = self._last_layer(last, hidden_TW, rope, layout, rows_B)
        else:
            self._layer(last, hidden_TW, rope, layout)
            hidden_BW = hidden_TW[rows_B]
        return rms_norm(hidden_BW.float(), self.weights.norm, self.config.norm_eps)

    def _layer(self, layer: LayerWeights, hidden_TW: Tensor, rope: Rope, layout: Layout) -> None:
        """Apply one layer in place."""
        q_THD = hidden_TW.new_empty(len(hidden_TW), self.config.num_heads, self.config.head_dim)
        k_TGD, v_TGD = self._empty_keys(hidden_TW)
        for rows in self._chunks(len(hidden_TW)):
            normed_tW = rms_norm(hidden_TW[rows], layer.attention_norm, self.config.norm_eps)
            self._queries(layer, normed_tW, rope.at(rows), q_THD[rows])
            self._keys(layer, normed_tW, rope.at(rows), k_TGD[rows], v_TGD[rows])
        self._finish(layer, hidden_TW, attention(q_THD, k_TGD, v_TGD, layout))

    def _last_layer(self, layer: LayerWeights, hidden_TW: Tensor, rope: Rope, layout: Layout, rows_B: Tensor) -> Tensor:
        """Return the state of the scored tokens after the last layer; the others are only looked at, as keys and values."""
        k_TGD, v_TGD = self._empty_keys(hidden_TW)
        for rows in self._chunks(len(hidden_TW)):
            normed_tW = rms_norm(hidden_TW[rows], layer.attention_norm, self.config.norm_eps)
            self._keys(layer, normed_tW, rope.at(rows), k_TGD[rows], v_TGD[rows])
        hidden_BW = hidden_TW[rows_B]
        q_BHD = hidden_BW.new_empty(len(hidden_BW), self.config.num_heads, self.config.head_dim)
        normed_BW = rms_norm(hidden_BW, layer.attention_norm, self.config.norm_eps)
        self._queries(layer, normed_BW, rope.at(rows_B), q_BHD)
        self._finish(layer, hidden_BW, attention(q_BHD, k_TGD, v_TGD, layout.pruned()))
        return hidden_BW

    def _queries(self, layer: LayerWeights, normed_tW: Tensor, rope: Rope, out_tHD: Tensor) -> None:
        q_tHD = F.linear(normed_tW, layer.q).view_as(out_tHD)
        out_tHD.copy_(_norm_and_rotate(q_tHD, layer.q_norm, rope, self.config.norm_eps))

    def _keys(self, layer: LayerWeights, normed_tW: Tensor, rope: Rope, out_k_tGD: Tensor, out_v_tGD: Tensor) -> None:
        k_tGD = F.linear(normed_tW, layer.k).view_as(out_k_tGD)
        out_k_tGD.copy_(_norm_and_rotate(k_tGD, layer.k_norm, rope, self.config.norm_eps))
        out_v_tGD.copy_(F.linear(normed_tW, layer.v).view_as(out_v_tGD))

    def _finish(self, layer: LayerWeights, hidden_TW: Tensor, attended_THD: Tensor) -> None:
        """Add what attention found, then what the MLP makes of it, in place."""
        for rows in self._chunks(len(hidden_TW)):
            hidden_tW = hidden_TW[rows]
            hidden_tW += F.linear(attended_THD[rows].flatten(1), layer.o)
            normed_tW = rms_norm(hidden_tW, layer.mlp_norm, self.config.norm_eps)
            inner_tI = F.silu(F.linear(normed_tW, layer.gate)).mul_(F.linear(normed_tW, layer.up))
            hidden_tW += F.linear(inner_tI, layer.down)

    def _empty_keys(self, hidden_TW: Tensor) -> tuple[Tensor, Tensor]:
        size = (len(hidden_TW), self.config.num_kv_heads, self.config.head_dim)
        return hidden_TW.new_empty(size), hidden_TW.new_empty(size)

    def _chunks(self, num_tokens: int) -> Iterator[slice]:
        for start in range(0, num_tokens, self.chunk_tokens):
            yield slice(start, min(start + self.chunk_tokens, num_tokens))


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary angles of some tokens.

    Shapes:
        cos_T1D, sin_T1D: [num tokens, 1, head_dim / 2] fp32.
    """

    cos_T1D: Tensor
    sin_T1D: Tensor

    def at(self, rows: slice | Tensor) -> Rope:
        """Return the angles of some of the tokens."""
        return Rope(self.cos_T1D[rows], self.sin_T1D[rows])


def rms_norm(x_TW: Tensor, weight_W: Tensor, eps: float) -> Tensor:
    """Return `x` scaled to unit root mean square and by `weight`; computed in fp32, rounded once to the dtype of `x`.

    Source: Zhang and Sennrich 2019, equation 4.
    """
    x32_TW = x_TW.float()
    scale_T1 = torch.rsqrt(x32_TW.square().mean(-1, keepdim=True) + eps)
    return (x32_TW * scale_T1 * weight_W).to(x_TW.dtype)


def _norm_and_rotate(x_tHD: Tensor, weight_D: Tensor, rope: Rope, eps: float) -> Tensor:
    """Normalise every head, then rotate its first half against its second, all in fp32.

    Source: Su et al. 2021, equation 34, with the halves of the head paired as in Qwen3's published weights.
    """
    first_tHd, second_tHd = rms_norm(x_tHD.float(), weight_D, eps).chunk(2, dim=-1)
    turned = (
        first_tHd * rope.cos_T1D - second_tHd * rope.sin_T1D,
        second_tHd * rope.cos_T1D + first_tHd * rope.sin_T1D,
    )
    return torch.cat(turned, dim=-1)


def _frequencies(config: Qwen3Config) -> Tensor:
    exponents_D = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    return 1.0 / (config.rope_theta**exponents_D)


def _angles(positions_T: Tensor, frequency_D: Tensor) -> Rope:
    angle_T1D = (positions_T.float()[:, None] * frequency_D)[:, None]
    return Rope(angle_T1D.cos(), angle_T1D.sin())
