"""The Qwen3 transformer, prefill only: packed token ids in, final states of the scored tokens out.

It defines the order of operations in a layer. `Linears` (matrix products) and `ForwardOps` (the rest) compute them, with
implementations per device. Everything but attention runs in chunks of tokens, so peak memory is a few rows per token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.layout import Layout
from shortlist.engine.native.linears import Linears, chunk_tokens, chunks
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.portable_ops import PortableOps, Rope, rms_norm


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """One layer: query and key heads of width D, hidden width W. Norms are fp32.

    Shapes:
        attention_norm, mlp_norm: [W]; q_norm, k_norm: [D].
    """

    attention_norm: Tensor
    q_norm: Tensor
    k_norm: Tensor
    mlp_norm: Tensor
    linears: Linears


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


class ForwardOps(Protocol):
    """The queries, keys and values of one pack, and what is done with them in every layer.

    Shapes:
        t tokens of a chunk, at `rows` of the pack; B scored tokens, at `rows_B`; hidden width W; H query heads and G key heads
        of width D. hidden: [t, W]; q: [t, H*D]; k, v: [t, G*D].
    """

    def norm(self, hidden_tW: Tensor, weight_W: Tensor) -> Tensor:
        """Return the states normalised, in their dtype."""
        ...

    def write_q(self, q_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """Keep the queries of some tokens, normalised and turned to their positions."""
        ...

    def write_kv(self, k_tX: Tensor, v_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """Keep the keys of some tokens, normalised and turned to their positions, and their values."""
        ...

    def attend(self) -> Tensor:
        """Return what every token's query gathers, [num tokens, H*D]; valid until queries are placed again."""
        ...

    def attend_scored(self, q_BX: Tensor, weight_D: Tensor, rows_B: Tensor) -> Tensor:
        """Return what the queries of the scored tokens gather, [B, H*D]."""
        ...


BeginForward = Callable[[Rope, Layout], ForwardOps]
"""How a step over one pack begins."""


class Qwen3:
    """Computes final states.

    Args:
        config: The shape.
        weights: All on one device, matrices in one dtype.
        begin: How to compute what is not a matrix product; in plain torch, when not given.
        max_chunk_tokens: Tokens per matrix product; what suits the shape, when not given.
        is_pruned: Whether the last layer computes only what the scored tokens need. Off only to test that it may be on.
    """

    def __init__(
        self,
        config: Qwen3Config,
        weights: Qwen3Weights,
        *,
        begin: BeginForward | None = None,
        max_chunk_tokens: int | None = None,
        is_pruned: bool = True,
    ) -> None:
        self.config = config
        self.weights = weights
        self._begin: BeginForward = begin or partial(PortableOps, config, weights.embedding.dtype)
        self._chunk_tokens = max_chunk_tokens or chunk_tokens(config.intermediate_size)
        self._is_pruned = is_pruned

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weights.embedding.device

    def final_states(self, ids_T: Tensor, positions_T: Tensor, layout: Layout) -> Tensor:
        """Return the normalised final state of every scored token, in the layout's order.

        Shapes:
            ids_T, positions_T: [num tokens] int64; result: [num scored, hidden width] fp32.
        """
        rows_B = torch.tensor(layout.scored_rows, device=self.device)
        return self.states(ids_T, rows_B, self._begin(Rope.of(positions_T, self.config), layout))

    def states(self, ids_T: Tensor, rows_B: Tensor, step: ForwardOps) -> Tensor:
        """Return the normalised final states of some tokens, by a step that has begun.

        Shapes:
            ids_T: [num tokens] and rows_B: [num scored], whole numbers; result: [num scored, hidden width] fp32.
        """
        hidden = [F.embedding(ids_T[rows], self.weights.embedding) for rows in self._chunks(len(ids_T))]
        *layers, last = self.weights.layers
        for layer in layers:
            self._layer(layer, hidden, step)
        if self._is_pruned:
            hidden_BW = self._last_layer(last, hidden, step, rows_B)
        else:
            self._layer(last, hidden, step)
            hidden_BW = self._gathered(hidden, rows_B)
        return rms_norm(hidden_BW.float(), self.weights.norm, self.config.norm_eps)

    def _layer(self, layer: LayerWeights, hidden: list[Tensor], step: ForwardOps) -> None:
        """Replace the states of every chunk by those after one layer."""
        for rows, hidden_tW in zip(self._chunks(_length(hidden)), hidden, strict=True):
            normed_tW = step.norm(hidden_tW, layer.attention_norm)
            step.write_q(layer.linears.queries(normed_tW), layer.q_norm, rows)
            step.write_kv(*layer.linears.keys(normed_tW), layer.k_norm, rows)
        self._finish(layer, hidden, step.attend(), step)

    def _last_layer(self, layer: LayerWeights, hidden: Sequence[Tensor], step: ForwardOps, rows_B: Tensor) -> Tensor:
        """Return the states of the scored tokens after the last layer; the others are only looked at, as keys and values."""
        for rows, hidden_tW in zip(self._chunks(_length(hidden)), hidden, strict=True):
            step.write_kv(*layer.linears.keys(step.norm(hidden_tW, layer.attention_norm)), layer.k_norm, rows)
        hidden_BW = self._gathered(hidden, rows_B)
        q_BX = layer.linears.queries(step.norm(hidden_BW, layer.attention_norm))
        scored = [hidden_BW[rows] for rows in self._chunks(len(hidden_BW))]
        self._finish(layer, scored, step.attend_scored(q_BX, layer.q_norm, rows_B), step)
        return torch.cat(scored)

    def _finish(self, layer: LayerWeights, hidden: list[Tensor], attended_TX: Tensor, step: ForwardOps) -> None:
        """Add to the states of every chunk what attention found, and what the MLP makes of that."""
        for chunk, rows in enumerate(self._chunks(len(attended_TX))):
            seen_tW = layer.linears.add_attended(attended_TX[rows], hidden[chunk])
            hidden[chunk] = layer.linears.add_mlp(step.norm(seen_tW, layer.mlp_norm), seen_tW)

    def _gathered(self, hidden: Sequence[Tensor], rows_B: Tensor) -> Tensor:
        """Return the states of some rows, which ascend."""
        if len(hidden) == 1:  # the common case, which need not wait for a device to say how many rows a chunk has
            return hidden[0].index_select(0, rows_B)
        both = zip(self._chunks(_length(hidden)), hidden, strict=True)
        return torch.cat([each[rows_B[(rows_B >= rows.start) & (rows_B < rows.stop)] - rows.start] for rows, each in both])

    def _chunks(self, num_tokens: int) -> Iterator[slice]:
        return chunks(num_tokens, self._chunk_tokens)


def _length(chunks: Sequence[Tensor]) -> int:
    return sum(map(len, chunks))
