"""Measures the dynamic range of a model: whether float16, which ends at 65,504, holds its numbers with a margin.

Some models have massive activations: a few numbers, mostly of a prompt's first tokens, are thousands of times larger than the
others. Prompts of real text pass through the model once, in fp32, and the largest magnitude of all that the engine keeps in 16
bits is recorded.

Source: Sun et al. 2024, "Massive Activations in Large Language Models".
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from shortlist.engine.native.linears import Matrices, Prepare
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.portable_ops import PortableOps
from shortlist.engine.native.qwen3 import LayerWeights, Qwen3, Qwen3Weights
from shortlist.engine.native.runner import Runner
from shortlist.types import Batch, Task, TokenPrompt, Value, WorkItem

SAFE: Final = 2.0**14
"""A quarter of what float16 can hold: other texts may go further than those that were looked at."""

Samples = Callable[[], Sequence[TokenPrompt]]
"""Returns prompts of real text, the more kinds of it the better; none where there are none."""

logger = logging.getLogger(__name__)


class LoadWeights(Protocol):
    """Loads one model's weights. See `load_weights`."""

    def __call__(self, *, dtype: torch.dtype | None, device: torch.device, prepare: Prepare) -> Qwen3Weights:
        """Return them."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class AbsMax:
    """The greatest sizes that were seen, not a number where one of them was none.

    Attributes:
        embedding: In the embedding.
        layers: In every layer, by what it is the size of.
    """

    embedding: float
    layers: tuple[Mapping[str, float], ...]

    @property
    def greatest(self) -> float:
        """The greatest of all."""
        return float(np.max([self.embedding, *(size for layer in self.layers for size in layer.values())]))

    @property
    def fits_float16(self) -> bool:
        """Whether float16 holds them, and what else may come."""
        return self.greatest < SAFE


def fitting_dtype(
    usual: torch.dtype, load: LoadWeights, config: Qwen3Config, prompts: Sequence[TokenPrompt], *, device: torch.device
) -> torch.dtype:
    """Return float16 if the model's dynamic range fits, else the usual dtype; logs the reason.

    Args:
        usual: What to compute in when nothing is known.
        load: Loads the model's weights; they are in no device's memory afterwards.
        config: Its shape.
        prompts: What to look at it with; without any, nothing is known.
        device: Where to look.

    Raises:
        EngineError: a prompt is too long, or has ids that the model lacks.
        torch.OutOfMemoryError: the embedding, one matrix in fp32 and the prompts' activations do not fit.
    """
    if not prompts:
        return usual
    seen = absmax(load, config, prompts, device=device)
    found = torch.float16 if seen.fits_float16 else usual
    logger.info(
        "dtype auto is %s on %s: the greatest number that built-in texts bring about is %s, and float16 is safe below %s.",
        *(str(found).removeprefix("torch."), device, f"{seen.greatest:,.0f}", f"{SAFE:,.0f}"),
    )
    return found


@torch.inference_mode()
def absmax(load: LoadWeights, config: Qwen3Config, prompts: Sequence[TokenPrompt], *, device: torch.device) -> AbsMax:
    """Return how large a model's weights and its numbers for some prompts are. Raises as `fitting_dtype`."""
    model = recording_model(load, config, device=device)
    run(model, Task.EMBED, prompts)
    return AbsMax(float(_size(model.weights.embedding)), tuple(_sizes(layer) for layer in model.weights.layers))


def recording_model(load: LoadWeights, config: Qwen3Config, *, device: torch.device) -> Qwen3:
    """Return a model that computes in fp32, and whose products are watched.

    Its matrices go to the device one after another, and again for every batch, so that no model is too large for this that can
    be served there.
    """
    stored = load(dtype=None, device=torch.device("cpu"), prepare=partial(RecordingLinears, device=device))
    weights = replace(
        stored,
        embedding=stored.embedding.to(device),
        layers=tuple(_norms_moved(layer, device) for layer in stored.layers),
        norm=stored.norm.to(device),
    )
    if weights.answer is not None:
        weights = replace(weights, answer=weights.answer.to(device))
    # Unpruned, so that the last layer is seen whole; in one chunk, so that every matrix is moved once.
    begin = partial(PortableOps, config, torch.float32)
    return Qwen3(config, weights, begin=begin, max_chunk_tokens=sys.maxsize, is_pruned=False)


def run(model: Qwen3, task: Task, prompts: Sequence[TokenPrompt]) -> list[Value]:
    """Return the values of prompts, computed in one batch."""
    items = tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(prompts))
    return Runner(model, max_model_len=model.config.max_positions).run(Batch(task, items))


class RecordingLinears:
    """`Linears` in fp32 that remember how large their matrices, what comes in and what goes out were.

    Args:
        matrices: Of the layer, as they are stored; every one is on the device only while it is needed.
        device: Where to compute.
    """

    def __init__(self, matrices: Matrices, *, device: torch.device) -> None:
        self.greatest: dict[str, Tensor] = {}
        self._matrices = matrices
        self._device = device

    def queries(self, normed_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return self._product("queries", self._seen("normalised", normed_tW), self._matrices.q)

    def keys(self, normed_tW: Tensor) -> tuple[Tensor, Tensor]:
        """See `Linears`."""
        return self._product("keys", normed_tW, self._matrices.k), self._product("values", normed_tW, self._matrices.v)

    def add_attended(self, attended_tX: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`. What attention gathers is a mean of values, and no larger than they are."""
        added_tW = self._product("after attention", attended_tX, self._matrices.o)
        return self._seen("after attention", hidden_tW + added_tW)

    def add_mlp(self, normed_tW: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        self._seen("normalised", normed_tW)
        gate_tI, up_tI = (self._product("inside the MLP", normed_tW, each) for each in (self._matrices.gate, self._matrices.up))
        inner_tI = self._seen("inside the MLP", F.silu(gate_tI) * up_tI)
        return self._seen("after the MLP", hidden_tW + self._product("after the MLP", inner_tI, self._matrices.down))

    def _product(self, what: str, x_tX: Tensor, matrix: Tensor) -> Tensor:
        here = self._seen("weights", matrix.to(self._device).float())
        return self._seen(what, F.linear(x_tX.float(), here))

    def _seen(self, what: str, tensor: Tensor) -> Tensor:
        size = _size(tensor)
        self.greatest[what] = torch.maximum(self.greatest.get(what, size), size)
        return tensor


def _size(tensor: Tensor) -> Tensor:
    """Return the largest magnitude in a tensor, on its device and without a sync. NaN stays NaN."""
    least, most = tensor.aminmax()
    return torch.maximum(-least, most).float()


def _norms_moved(layer: LayerWeights, device: torch.device) -> LayerWeights:
    names = ("attention_norm", "q_norm", "k_norm", "mlp_norm")
    return replace(layer, **{name: getattr(layer, name).to(device) for name in names})


def _sizes(layer: LayerWeights) -> Mapping[str, float]:
    """Return what a layer saw, and how large its heads can get once they are normalised and turned, whatever the prompt.

    A normalised head is as long as the root of its width, and turning moves nothing but what two of its numbers share.
    """
    assert isinstance(layer.linears, RecordingLinears), "They were prepared to be watched. This is a bug."
    longest = max(float(_size(norm_D)) * math.sqrt(len(norm_D)) for norm_D in (layer.q_norm, layer.k_norm))
    return {"heads": longest, **{what: float(size) for what, size in layer.linears.greatest.items()}}
