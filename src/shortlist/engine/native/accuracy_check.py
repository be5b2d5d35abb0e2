"""Whether a model that was rounded to 8 bits still says what it says in full: asked before it serves.

Both are given the same prompts of real text. The model in full is computed in fp32 from its files, a matrix at a time, so that
it need not fit beside the other.
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
"""How far they may be apart. A quarter in log-odds is 0.06 of relevance at most, as far as a benchmark's contenders may be."""

UNITS: Final = {Task.RERANK: "in log-odds, root mean square", Task.EMBED: "as 1 - cosine, on average"}

logger = logging.getLogger(__name__)


class RoundedModel(Protocol):
    """What is judged. See `Runner`."""

    def begin(self, batch: Batch) -> Callable[[], list[Value]]:
        """Begin a batch; return what waits for one value per item."""
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
    """Let a rounded model pass, or refuse it; the log says how far it is from the model in full.

    Args:
        rounded: Computes with the rounded model.
        load: Loads the weights in full.
        config: The model's shape.
        prompts: What to ask.
        task: What the model is for.
        device: Where to compute it in full.

    Raises:
        BadSetting: it is too far away, or there is nothing to ask.
    """
    if not prompts:
        raise BadSetting("dtype is 'fp8', which cannot be checked here: the check's texts do not fit into max_model_len.")
    items = tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(prompts))
    found = rounded.begin(Batch(task, items))()
    apart = distance(found, run(recording_model(load, config, device=device), task, prompts), task)
    said = f"{apart:.2g} from fp32 ({UNITS[task]}), and {BOUNDS[task]:g} is allowed"
    if not apart <= BOUNDS[task]:  # nor if it is not a number
        raise BadSetting(f"dtype is 'fp8', in which this model is {said}. Use --dtype auto.")
    logger.info("In 8 bits, this model is %s.", said)


def distance(found: Sequence[Value], exact: Sequence[Value], task: Task) -> float:
    """Return how far two models' values for the same prompts are apart."""
    one, other = np.asarray(found, dtype=np.float64), np.asarray(exact, dtype=np.float64)
    if task is Task.RERANK:
        return float(np.sqrt(np.square(one - other).mean()))
    return float((1 - (one * other).sum(axis=1)).mean())
