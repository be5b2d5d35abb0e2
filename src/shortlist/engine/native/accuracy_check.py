"""The accuracy check of 8-bit weights: compares an 8-bit model with fp32 before it serves.

Both compute the same prompts of real text. The fp32 model is computed from its files one matrix at a time, so it need not fit
beside the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
import torch

from shortlist.engine.native.dynamic_range import LoadWeights, recording_model, run
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.errors import BadSetting
from shortlist.types import Batch, Task, TokenPrompt, Value, WorkItem

BOUNDS: Final = {Task.RERANK: 0.25, Task.EMBED: 0.01}
"""Largest distance. A quarter in log-odds is at most 0.06 of relevance; the same bound as in the engine comparison."""

UNITS: Final = {Task.RERANK: "in log-odds, root mean square", Task.EMBED: "as 1 - cosine, on average"}

logger = logging.getLogger(__name__)


class RoundedModel(Protocol):
    """The model to check. See `Runner`."""

    def begin(self, batch: Batch) -> Callable[[], list[Value]]:
        """Start a batch; return a function that waits for one value per item."""
        ...


def check_accuracy(
    rounded: RoundedModel,
    load: LoadWeights,
    config: Qwen3Config,
    prompts: Sequence[TokenPrompt],
    *,
    task: Task,
    device: torch.device,
) -> None:
    """Refuse an 8-bit model that is too far from fp32; logs the distance.

    Args:
        rounded: Runs the 8-bit model.
        load: Loads the unquantised weights.
        config: The model's shape.
        prompts: The prompts to compare.
        task: The model's task.
        device: Device of the fp32 model.

    Raises:
        BadSetting: the distance exceeds the bound, or there are no prompts.
    """
    if not prompts:
        raise BadSetting("dtype is 'fp8', which cannot be checked here: the check's texts do not fit into max_model_len.")
    items = tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(prompts))
    values = rounded.begin(Batch(task, items))()
    apart = distance(values, run(recording_model(load, config, device=device), task, prompts), task)
    result = f"{apart:.2g} from fp32 ({UNITS[task]}); {BOUNDS[task]:g} is allowed"
    if not apart <= BOUNDS[task]:  # NaN fails, too
        raise BadSetting(f"dtype is 'fp8', in which this model is {result}. Use --dtype auto.")
    logger.info("accuracy check passed: in 8 bits, this model is %s", result)


def distance(values: Sequence[Value], exact: Sequence[Value], task: Task) -> float:
    """Return the distance between two models' values for the same prompts."""
    one, other = np.asarray(values, dtype=np.float64), np.asarray(exact, dtype=np.float64)
    if task is Task.RERANK:
        return float(np.sqrt(np.square(one - other).mean()))
    return float((1 - (one * other).sum(axis=1)).mean())
