"""The accuracy check of 8-bit weights: compares an 8-bit model with fp32 before it serves.

Both compute the same prompts of real text. The fp32 model is computed from its files one matrix at a time, so it need not fit
beside the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch

from shortlist.engine.native.dynamic_range import LoadWeights, recording_model, run
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.errors import BadSetting
from shortlist.types import EMBED, RERANK, Operation, Prompt, TokenPrompt, Value

BOUNDS: Final = {RERANK: 0.25, EMBED: 0.01}
"""Largest distance. A quarter in log-odds is at most 0.06 of relevance; the same bound as in the engine comparison."""

UNITS: Final = {RERANK: "in log-odds, root mean square", EMBED: "as 1 - cosine, on average"}

Values = npt.NDArray[np.float64]

logger = logging.getLogger(__name__)


class RoundedModel(Protocol):
    """The model to check. See `Runner`."""

    def begin(self, operation: Operation, prompts: Sequence[Prompt]) -> Callable[[], list[Value]]:
        """Start a batch; return a function that waits for one value per prompt."""
        ...


def check_accuracy(
    rounded: RoundedModel,
    load: LoadWeights,
    config: Qwen3Config,
    prompts: Sequence[TokenPrompt],
    *,
    operation: Operation,
    device: torch.device,
) -> None:
    """Refuse an 8-bit model that is too far from fp32; logs the distance.

    Args:
        rounded: Runs the 8-bit model.
        load: Loads the unquantised weights.
        config: The model's shape.
        prompts: The prompts to compare.
        operation: The model's operation.
        device: Device of the fp32 model.

    Raises:
        BadSetting: the distance exceeds the bound, or there are no prompts.
    """
    if not prompts:
        raise BadSetting("dtype is 'fp8', which cannot be checked here: the check's texts do not fit into max_model_len.")
    values = rounded.begin(operation, prompts)()
    exact = run(recording_model(load, config, device=device), operation, prompts)
    apart = _DISTANCES[operation](np.asarray(values, dtype=np.float64), np.asarray(exact, dtype=np.float64))
    result = f"{apart:.2g} from fp32 ({UNITS[operation]}); {BOUNDS[operation]:g} is allowed"
    if not apart <= BOUNDS[operation]:  # NaN fails, too
        raise BadSetting(f"dtype is 'fp8', in which this model is {result}. Use --dtype auto.")
    logger.info("accuracy check passed: in 8 bits, this model is %s", result)


def log_odds_distance(one: Values, other: Values) -> float:
    """Return the root mean square of the differences of scores, each [num prompts]."""
    return float(np.sqrt(np.square(one - other).mean()))


def cosine_distance(one: Values, other: Values) -> float:
    """Return the mean of 1 - cosine of unit vectors, each [num prompts, dimensions]."""
    return float((1 - (one * other).sum(axis=1)).mean())


_DISTANCES: Final = {RERANK: log_odds_distance, EMBED: cosine_distance}
