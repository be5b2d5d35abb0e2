"""Batches to numbers: packs prompts, runs the model, reads scores or vectors off the final states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.layout import Layout, PackedSpan
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.errors import EngineError
from shortlist.types import EMBED, RERANK, Ids, Operation, Prompt, TokenPrompt, Value

_NOTHING = range(0)

Head = Callable[[Tensor], Tensor]
"""Final states [num scored, hidden width] to the values of an operation, on the device."""

Convert = Callable[[Tensor], Sequence[Value]]
"""Values on the host to one value per row."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedSequence:
    """A batch packed for the model: every shared prefix once, followed by its prompts.

    Attributes:
        order: Index of the prompt, for every scored span of the layout.

    Shapes:
        ids_T, positions_T: [num tokens] int32.
    """

    ids_T: Ids
    positions_T: Ids
    layout: Layout
    order: tuple[int, ...]


class Forward(Protocol):
    """The forward pass of a model over a packed sequence."""

    def states(self, pack: PackedSequence) -> Tensor:
        """Return the final state of every scored token; valid until the next call.

        Shapes:
            result: [num scored, hidden width] fp32.
        """
        ...

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Start copying a tensor to the host; return a function that waits for it."""
        ...


@dataclass(frozen=True, slots=True)
class PlainForward:
    """A synchronous `Forward`."""

    model: Qwen3

    def states(self, pack: PackedSequence) -> Tensor:
        """See `Forward`."""
        ids_T, positions_T = (torch.from_numpy(array).to(self.model.device) for array in (pack.ids_T, pack.positions_T))
        return self.model.final_states(ids_T, positions_T, pack.layout)

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """See `Forward`."""
        host = tensor.cpu()
        return lambda: host


class Runner:
    """Computes batches with one model.

    Args:
        model: The loaded model.
        max_model_len: Longest prompt in tokens, shared prefix included.
        forward: The forward pass; default: synchronous, on the calling thread.
    """

    def __init__(self, model: Qwen3, *, max_model_len: int, forward: Forward | None = None) -> None:
        self._forward = forward or PlainForward(model)
        self._model = model
        self._max_model_len = max_model_len
        self._heads: dict[Operation, tuple[Head, Convert]] = {
            RERANK: (self._log_odds, Tensor.tolist),
            EMBED: (partial(F.normalize, dim=-1), _vectors),
        }

    def run(self, operation: Operation, prompts: Sequence[Prompt]) -> list[Value]:
        """Return one value per prompt, in order. Raises as `begin`."""
        return self.begin(operation, prompts)()

    def begin(self, operation: Operation, prompts: Sequence[Prompt]) -> Callable[[], list[Value]]:
        """Submit a batch to the device; return a function that waits for one value per prompt, in order.

        A value is the log-odds of relevance, or a unit vector. The next batch may start before this one's values are fetched.

        Shapes:
            vectors: each [hidden width] float32.

        Raises:
            EngineError: a prompt is not token ids, is too long, or has ids outside the vocabulary.
            torch.OutOfMemoryError: the batch did not fit.
        """
        pack = self._pack(prompts)
        head, convert = self._heads[operation]
        with torch.inference_mode():
            wait = self._forward.fetch(head(self._forward.states(pack)))
        return partial(_finish, wait, pack.order, convert)

    def explain(self, prompts: Sequence[Prompt]) -> list[Mapping[str, float]]:
        """Return the logits of every score, by name, in the order of the prompts. Raises as `begin`."""
        pack = self._pack(prompts)
        with torch.inference_mode():
            states_BW = self._forward.states(pack)
            logits = {name: (states_BW * row_W).sum(-1).tolist() for name, row_W in self._model.weights.answers.items()}
        rows = {index: row for row, index in enumerate(pack.order)}
        return [{name: float(values[rows[index]]) for name, values in logits.items()} for index in range(len(prompts))]

    def _log_odds(self, states_BW: Tensor) -> Tensor:
        answer_W = self._model.weights.answer
        if answer_W is None:
            raise EngineError("This engine was loaded for embeddings; it cannot rerank.")
        # Row by row, so that a score does not depend on the batch size.
        return (states_BW * answer_W).sum(-1)

    def _pack(self, prompts: Sequence[Prompt]) -> PackedSequence:
        token_prompts = [_token_prompt(prompt) for prompt in prompts]
        if max(prompt.num_tokens for prompt in token_prompts) > self._max_model_len:
            raise EngineError(f"A prompt exceeds max_model_len ({self._max_model_len} tokens).")
        pack = pack_prompts(token_prompts)
        if pack.ids_T.min() < 0 or pack.ids_T.max() >= self._model.config.vocab_size:
            raise EngineError("A prompt has token ids outside the model's vocabulary.")
        return pack


def pack_prompts(prompts: Sequence[TokenPrompt]) -> PackedSequence:
    """Return prompts packed by shared prefix, prefixes in order of their first prompt."""
    by_prefix: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_prefix.setdefault(id(prompt.prefix), []).append(index)
    builder = _Builder()
    for indexes in by_prefix.values():
        prefix = builder.add_prefix(prompts[indexes[0]].prefix.ids)
        for index in indexes:
            builder.add_prompt(prompts[index].ids, prefix)
    layout = Layout(tuple(builder.spans), builder.num_tokens)
    order = tuple(index for indexes in by_prefix.values() for index in indexes)
    return PackedSequence(np.concatenate(builder.ids), np.concatenate(builder.positions), layout, order)


class _Builder:
    """Builds a packed sequence from the left."""

    def __init__(self) -> None:
        self.spans: list[PackedSpan] = []
        self.ids: list[Ids] = []
        self.positions: list[Ids] = []
        self.num_tokens = 0

    def add_prefix(self, ids: Ids) -> range:
        if not len(ids):
            return _NOTHING
        rows = self._add(ids, first_position=0)
        self.spans.append(PackedSpan(rows, rows, _NOTHING, is_scored=False))
        return rows

    def add_prompt(self, ids: Ids, prefix: range) -> None:
        rows = self._add(ids, first_position=len(prefix))
        self.spans.append(PackedSpan(rows, rows, prefix, is_scored=True))

    def _add(self, ids: Ids, first_position: int) -> range:
        rows = range(self.num_tokens, self.num_tokens + len(ids))
        self.ids.append(ids)
        self.positions.append(np.arange(first_position, first_position + len(ids), dtype=np.int32))
        self.num_tokens = rows.stop
        return rows


def _token_prompt(prompt: object) -> TokenPrompt:
    if not isinstance(prompt, TokenPrompt) or not prompt.num_own_tokens:
        raise EngineError("The native engine needs prompts of token ids, at least one per prompt.")
    return prompt


def _finish(wait: Callable[[], Tensor], order: Sequence[int], convert: Convert) -> list[Value]:
    """Wait for the values and return them in the order of the prompts."""
    values = dict(zip(order, convert(wait()), strict=True))
    return [values[index] for index in range(len(values))]


def _vectors(unit_BW: Tensor) -> Sequence[Value]:
    """Return copies of the vectors, so that a kept vector does not keep the batch."""
    return [row.copy() for row in unit_BW.numpy()]
