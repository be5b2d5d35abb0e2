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
    """The weights of a model.

    Shapes:
        embedding: [vocabulary, W]; norm: [W] fp32; answer: [W] fp32, for rerankers only; answers: each [W] fp32, the rows
        that make up `answer`, by name.
    """

    embedding: Tensor
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    answer: Tensor | None = None
    answers: Mapping[str, Tensor] = field(default_factory=dict)


class ForwardOps(Protocol):
    """The operations between matrix products, and the queries, keys and values of one packed sequence.

    Shapes:
        t tokens of a chunk, at `rows`; B scored tokens, at `rows_B`; hidden width W; H query heads and G key heads
        of width D. hidden: [t, W]; q: [t, H*D]; k, v: [t, G*D].
    """

    def norm(self, hidden_tW: Tensor, weight_W: Tensor) -> Tensor:
        """Return the states normalised, in their dtype."""
        ...

    def write_q(self, q_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """Normalise, rotate and store the queries of the tokens at `rows`."""
        ...

    def write_kv(self, k_tX: Tensor, v_tX: Tensor, weight_D: Tensor, rows: slice) -> None:
        """Normalise, rotate and store the keys of the tokens at `rows`; store their values."""
        ...

    def attend(self) -> Tensor:
        """Return the attention output of every token, [num tokens, H*D]; valid until the next `write_q`."""
        ...

    def attend_scored(self, q_BX: Tensor, weight_D: Tensor, rows_B: Tensor) -> Tensor:
        """Return the attention output of the scored tokens, [B, H*D]."""
        ...


BeginForward = Callable[[Rope, Layout], ForwardOps]
"""Creates the operations of a forward pass over one packed sequence."""


class Qwen3:
    """Computes final states.

    Args:
        config: The model's configuration.
        weights: The weights, all on one device, matrices in one dtype.
        begin: Creates the operations between matrix products; default: plain torch.
        max_chunk_tokens: Tokens per matrix product; default: by the MLP's width.
        is_pruned: Whether the last layer computes only what the scored tokens need. Off only in tests of the pruning.
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
        """The device of the weights."""
        return self.weights.embedding.device

    def final_states(self, ids_T: Tensor, positions_T: Tensor, layout: Layout) -> Tensor:
        """Return the normalised final state of every scored token, in the layout's order.

        Shapes:
            ids_T, positions_T: [num tokens] int32; result: [num scored, hidden width] fp32.
        """
        rows_B = torch.tensor(layout.scored_rows, device=self.device)
        return self.states(ids_T, rows_B, self._begin(Rope.of(positions_T, self.config), layout))

    def states(self, ids_T: Tensor, rows_B: Tensor, ops: ForwardOps) -> Tensor:
        """Return the normalised final states of the tokens at `rows_B`.

        Shapes:
            ids_T: [num tokens] and rows_B: [num scored], integers; result: [num scored, hidden width] fp32.
        """
        hidden = [F.embedding(ids_T[rows], self.weights.embedding) for rows in self._chunks(len(ids_T))]
        *layers, last = self.weights.layers
        for layer in layers:
            self._layer(layer, hidden, ops)
        if self._is_pruned:
            hidden_BW = self._last_layer(last, hidden, ops, rows_B)
        else:
            self._layer(last, hidden, ops)
            hidden_BW = self._gathered(hidden, rows_B)
        return rms_norm(hidden_BW.float(), self.weights.norm, self.config.norm_eps)

    def _layer(self, layer: LayerWeights, hidden: list[Tensor], ops: ForwardOps) -> None:
        """Replace the states of every chunk by those after one layer."""
        for rows, hidden_tW in zip(self._chunks(_length(hidden)), hidden, strict=True):
            normed_tW = ops.norm(hidden_tW, layer.attention_norm)
            ops.write_q(layer.linears.queries(normed_tW), layer.q_norm, rows)
            ops.write_kv(*layer.linears.keys(normed_tW), layer.k_norm, rows)
        self._finish(layer, hidden, ops.attend(), ops)

    def _last_layer(self, layer: LayerWeights, hidden: Sequence[Tensor], ops: ForwardOps, rows_B: Tensor) -> Tensor:
        """Return the states of the scored tokens after the last layer; other tokens only contribute keys and values."""
        for rows, hidden_tW in zip(self._chunks(_length(hidden)), hidden, strict=True):
            ops.write_kv(*layer.linears.keys(ops.norm(hidden_tW, layer.attention_norm)), layer.k_norm, rows)
        hidden_BW = self._gathered(hidden, rows_B)
        q_BX = layer.linears.queries(ops.norm(hidden_BW, layer.attention_norm))
        scored = [hidden_BW[rows] for rows in self._chunks(len(hidden_BW))]
        self._finish(layer, scored, ops.attend_scored(q_BX, layer.q_norm, rows_B), ops)
        return torch.cat(scored)

    def _finish(self, layer: LayerWeights, hidden: list[Tensor], attended_TX: Tensor, ops: ForwardOps) -> None:
        """Add the attention output and then the MLP output to the states of every chunk."""
        for chunk, rows in enumerate(self._chunks(len(attended_TX))):
            summed_tW = layer.linears.add_attended(attended_TX[rows], hidden[chunk])
            hidden[chunk] = layer.linears.add_mlp(ops.norm(summed_tW, layer.mlp_norm), summed_tW)

    def _gathered(self, hidden: Sequence[Tensor], rows_B: Tensor) -> Tensor:
        """Return the states at `rows_B`, which ascend."""
        if len(hidden) == 1:  # the common case; needs no device sync for the number of rows per chunk
            return hidden[0].index_select(0, rows_B)
        both = zip(self._chunks(_length(hidden)), hidden, strict=True)
        return torch.cat([each[rows_B[(rows_B >= rows.start) & (rows_B < rows.stop)] - rows.start] for rows, each in both])

    def _chunks(self, num_tokens: int) -> Iterator[slice]:
        return chunks(num_tokens, self._chunk_tokens)


def _length(chunks: Sequence[Tensor]) -> int:
    return sum(map(len, chunks))
