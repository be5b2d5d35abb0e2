"""Measures the dynamic range of a model: whether float16, which ends at 65,504, holds its numbers with a margin.

Some models have massive activations: a few numbers, mostly of a prompt's first tokens, are thousands of times larger than the
others. Prompts of real text pass through the model once, in fp32. The measurement records the largest magnitude of all
numbers that the engine keeps in 16 bits.

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
from shortlist.types import EMBED, Operation, TokenPrompt, Value

SAFE: Final = 2.0**14
"""A quarter of float16's largest number: other texts may exceed the calibration prompts."""

Samples = Callable[[], Sequence[TokenPrompt]]
"""Returns prompts of real text, ideally of many kinds; empty without any."""

logger = logging.getLogger(__name__)


class LoadWeights(Protocol):
    """Loads one model's weights. See `load_weights`."""

    def __call__(self, *, dtype: torch.dtype | None, device: torch.device, prepare: Prepare) -> Qwen3Weights:
        """Return the weights."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class AbsMax:
    """Largest magnitudes of a model's weights and activations; NaN where a number was NaN.

    Attributes:
        embedding: Largest magnitude in the embedding.
        layers: Per layer, the largest magnitudes by tensor.
    """

    embedding: float
    layers: tuple[Mapping[str, float], ...]

    @property
    def greatest(self) -> float:
        """The largest magnitude of all."""
        return float(np.max([self.embedding, *(size for layer in self.layers for size in layer.values())]))

    @property
    def fits_float16(self) -> bool:
        """Whether float16 holds all of them with a margin."""
        return self.greatest < SAFE


def fitting_dtype(
    usual: torch.dtype, load: LoadWeights, config: Qwen3Config, prompts: Sequence[TokenPrompt], *, device: torch.device
) -> torch.dtype:
    """Return float16 if the model's dynamic range fits, else the usual dtype; logs the reason.

    Args:
        usual: The dtype without a measurement.
        load: Loads the model's weights; no device memory holds them afterwards.
        config: The model's configuration.
        prompts: Calibration prompts; without any, nothing is measured.
        device: Device of the measurement.

    Raises:
        EngineError: a prompt is too long, or has ids that the model lacks.
        torch.OutOfMemoryError: the embedding, one matrix in fp32 and the prompts' activations do not fit.
    """
    if not prompts:
        return usual
    measured = absmax(load, config, prompts, device=device)
    dtype = torch.float16 if measured.fits_float16 else usual
    logger.info(
        "dtype auto is %s on %s: the largest number over the built-in texts is %s; float16 needs less than %s",
        *(str(dtype).removeprefix("torch."), device, f"{measured.greatest:,.0f}", f"{SAFE:,.0f}"),
    )
    return dtype


@torch.inference_mode()
def absmax(load: LoadWeights, config: Qwen3Config, prompts: Sequence[TokenPrompt], *, device: torch.device) -> AbsMax:
    """Return the largest magnitudes of a model's weights and of its activations for `prompts`. Raises as `fitting_dtype`."""
    model = recording_model(load, config, device=device)
    run(model, EMBED, prompts)
    return AbsMax(float(_absmax(model.weights.embedding)), tuple(_layer_absmax(layer) for layer in model.weights.layers))


def recording_model(load: LoadWeights, config: Qwen3Config, *, device: torch.device) -> Qwen3:
    """Return a model that computes in fp32 and records the magnitudes of its products.

    Matrices move to the device one at a time, again for every batch. So every model that the device can serve fits.
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
    # Unpruned, to record all of the last layer; in one chunk, to move every matrix once.
    begin = partial(PortableOps, config, torch.float32)
    return Qwen3(config, weights, begin=begin, max_chunk_tokens=sys.maxsize, is_pruned=False)


def run(model: Qwen3, operation: Operation, prompts: Sequence[TokenPrompt]) -> list[Value]:
    """Return the values of prompts, computed in one batch."""
    return Runner(model, max_model_len=model.config.max_positions).run(operation, prompts)


class RecordingLinears:
    """`Linears` in fp32 that record the largest magnitudes of their matrices, inputs and outputs.

    Args:
        matrices: The layer's matrices, as stored; each is on the device only during its product.
        device: Device of the products.
    """

    def __init__(self, matrices: Matrices, *, device: torch.device) -> None:
        self.greatest: dict[str, Tensor] = {}
        self._matrices = matrices
        self._device = device

    def queries(self, normed_tW: Tensor) -> Tensor:
        """See `Linears`."""
        return self._product("queries", self._record("normalised", normed_tW), self._matrices.q)

    def keys(self, normed_tW: Tensor) -> tuple[Tensor, Tensor]:
        """See `Linears`."""
        return self._product("keys", normed_tW, self._matrices.k), self._product("values", normed_tW, self._matrices.v)

    def add_attended(self, attended_tX: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`. The attention output is a weighted mean of values, so it is no larger than they are."""
        added_tW = self._product("after attention", attended_tX, self._matrices.o)
        return self._record("after attention", hidden_tW + added_tW)

    def add_mlp(self, normed_tW: Tensor, hidden_tW: Tensor) -> Tensor:
        """See `Linears`."""
        self._record("normalised", normed_tW)
        gate_tI, up_tI = (self._product("inside the MLP", normed_tW, each) for each in (self._matrices.gate, self._matrices.up))
        inner_tI = self._record("inside the MLP", F.silu(gate_tI) * up_tI)
        return self._record("after the MLP", hidden_tW + self._product("after the MLP", inner_tI, self._matrices.down))

    def _product(self, what: str, x_tX: Tensor, matrix: Tensor) -> Tensor:
        fp32 = self._record("weights", matrix.to(self._device).float())
        return self._record(what, F.linear(x_tX.float(), fp32))

    def _record(self, what: str, tensor: Tensor) -> Tensor:
        size = _absmax(tensor)
        self.greatest[what] = torch.maximum(self.greatest.get(what, size), size)
        return tensor


def _absmax(tensor: Tensor) -> Tensor:
    """Return the largest magnitude in a tensor, on its device and without a sync. NaN stays NaN."""
    least, most = tensor.aminmax()
    return torch.maximum(-least, most).float()


def _norms_moved(layer: LayerWeights, device: torch.device) -> LayerWeights:
    names = ("attention_norm", "q_norm", "k_norm", "mlp_norm")
    return replace(layer, **{name: getattr(layer, name).to(device) for name in names})


def _layer_absmax(layer: LayerWeights) -> Mapping[str, float]:
    """Return the recorded magnitudes of a layer, and the bound of its normalised, rotated heads for any prompt.

    The norm of a normalised head is the square root of its width. A rotation only mixes pairs of its numbers.
    """
    assert isinstance(layer.linears, RecordingLinears), "The layer was loaded without RecordingLinears. This is a bug."
    longest = max(float(_absmax(norm_D)) * math.sqrt(len(norm_D)) for norm_D in (layer.q_norm, layer.k_norm))
    return {"heads": longest, **{what: float(size) for what, size in layer.linears.greatest.items()}}
