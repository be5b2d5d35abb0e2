"""Batches to numbers: packs prompts, runs the model, reads scores or vectors off the final states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.layout import Layout, PackedSpan
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.errors import EngineError
from shortlist.types import Batch, Ids, Task, TokenPrompt, Value

_NOTHING = range(0)


@dataclass(frozen=True, slots=True, eq=False)
class PackedSequence:
    """A batch laid out for the model: every head once, each followed by its prompts.

    Attributes:
        order: For every scored run of the layout, the item of the batch it is.

    Shapes:
        ids_T, positions_T: [num tokens].
    """

    ids_T: npt.NDArray[np.int64]
    positions_T: npt.NDArray[np.int64]
    layout: Layout
    order: tuple[int, ...]


class Forward(Protocol):
    """How a model computes a pack."""

    def states(self, pack: PackedSequence) -> Tensor:
        """Return the final state of every scored token; it is good until the next call.

        Shapes:
            result: [num scored, hidden width] fp32.
        """
        ...

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Begin to copy a tensor to the host; return what waits for it."""
        ...


@dataclass(frozen=True, slots=True)
class PlainForward:
    """A `Forward` of which nothing is under way once it has returned."""

    model: Qwen3

    def states(self, pack: PackedSequence) -> Tensor:
        """See `Forward`."""
        ids_T, positions_T = (torch.from_numpy(array).to(self.model.device) for array in (pack.ids_T, pack.positions_T))
        return self.model.final_states(ids_T, positions_T, pack.layout)

    def fetch(self, tensor: Tensor) -> Callable[[], Tensor]:
        """See `Forward`."""
        found = tensor.cpu()
        return lambda: found


class Runner:
    """Computes batches on one model.

    Args:
        model: The model, loaded.
        max_model_len: Longest prompt in tokens, head included.
        forward: How it computes; on the calling thread, when not given.
    """

    def __init__(self, model: Qwen3, *, max_model_len: int, forward: Forward | None = None) -> None:
        self._forward = forward or PlainForward(model)
        self._model = model
        self._max_model_len = max_model_len

    def run(self, batch: Batch) -> list[Value]:
        """Return one value per item, in the batch's order. Raises as `begin`."""
        return self.begin(batch)()

    def begin(self, batch: Batch) -> Callable[[], list[Value]]:
        """Give a batch to the device; return what waits for one value per item, in the batch's order.

        A value is the log-odds of relevance, or a unit vector. The next batch may begin before this one has been waited for.

        Shapes:
            vectors: each [hidden width] float32.

        Raises:
            EngineError: a prompt is not token ids, too long, or has ids that the model lacks.
            torch.OutOfMemoryError: it did not fit.
        """
        pack = self._pack(batch)
        with torch.inference_mode():
            states_BW = self._forward.states(pack)
            is_vectors = batch.task is Task.EMBED
            found = self._forward.fetch(F.normalize(states_BW, dim=-1) if is_vectors else self._log_odds(states_BW))
        return partial(_finish, found, pack.order, _vectors if is_vectors else Tensor.tolist)

    def explain(self, batch: Batch) -> list[Mapping[str, float]]:
        """Return the logits that every item's score is made of, by name, in the batch's order. Raises as `run`."""
        pack = self._pack(batch)
        with torch.inference_mode():
            states_BW = self._forward.states(pack)
            logits = {name: (states_BW * row_W).sum(-1).tolist() for name, row_W in self._model.weights.answers.items()}
        places = {item: row for row, item in enumerate(pack.order)}
        return [{name: float(row[places[item]]) for name, row in logits.items()} for item in range(len(batch.items))]

    def _log_odds(self, states_BW: Tensor) -> Tensor:
        answer_W = self._model.weights.answer
        if answer_W is None:
            raise EngineError("This engine was loaded to embed; it cannot rerank.")
        # Row by row, so that a score does not depend on how many there are.
        return (states_BW * answer_W).sum(-1)

    def _pack(self, batch: Batch) -> PackedSequence:
        prompts = [_token_prompt(item.prompt) for item in batch.items]
        for prompt in prompts:
            if prompt.prefix.num_tokens + prompt.num_tokens > self._max_model_len:
                raise EngineError(f"A prompt is longer than the {self._max_model_len} tokens this engine reads.")
        pack = pack_prompts(prompts)
        if pack.ids_T.min() < 0 or pack.ids_T.max() >= self._model.config.vocab_size:
            raise EngineError("A prompt has token ids that the model's vocabulary lacks.")
        return pack


def pack_prompts(prompts: Sequence[TokenPrompt]) -> PackedSequence:
    """Lay prompts out, those of one head together, heads in order of their first prompt."""
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
    """A pack being filled from the left."""

    def __init__(self) -> None:
        self.spans: list[PackedSpan] = []
        self.ids: list[npt.NDArray[np.int64]] = []
        self.positions: list[npt.NDArray[np.int64]] = []
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
        self.ids.append(ids.astype(np.int64))
        self.positions.append(np.arange(first_position, first_position + len(ids), dtype=np.int64))
        self.num_tokens = rows.stop
        return rows


def _token_prompt(prompt: object) -> TokenPrompt:
    if not isinstance(prompt, TokenPrompt) or not prompt.num_tokens:
        raise EngineError("The native engine reads prompts of token ids, at least one.")
    return prompt


def _finish(found: Callable[[], Tensor], order: Sequence[int], read: Callable[[Tensor], Sequence[Value]]) -> list[Value]:
    """Wait for what was found, and put it into the batch's order."""
    values = dict(zip(order, read(found()), strict=True))
    return [values[index] for index in range(len(values))]


def _vectors(unit_BW: Tensor) -> Sequence[Value]:
    """Return vectors, each with memory of its own, so that keeping one does not keep the batch."""
    return [row.copy() for row in unit_BW.numpy()]
