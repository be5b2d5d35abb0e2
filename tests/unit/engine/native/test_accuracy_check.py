"""An 8-bit model serves only if its values are close to those in fp32."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from shortlist.engine.native.accuracy_check import check_accuracy, cosine_distance, log_odds_distance
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.runner import Runner
from shortlist.engine.native.weights import load_weights
from shortlist.errors import BadSetting
from shortlist.types import EMBED, RERANK, Operation
from tests.support.fixtures import ModelFactory
from tests.support.native import prefix_of, prompt_of

CPU = torch.device("cpu")
PROMPTS = [prompt_of(prefix_of(5), length) for length in (1, 4, 20)]
KINDS = pytest.mark.parametrize(("kind", "task"), [("reranker", RERANK), ("seqcls", RERANK), ("embedder", EMBED)])


def check(served: Path, full: Path, task: Operation, prompts: object = PROMPTS) -> None:
    """Check the model of one folder, in bfloat16, against that of another, in fp32."""
    config = Qwen3Config.read(full)
    weights = load_weights(served, config, operation=task, dtype=torch.bfloat16, device=CPU)
    load = partial(load_weights, full, config, operation=task)
    runner = Runner(Qwen3(config, weights), max_model_len=100)
    check_accuracy(runner, load, config, prompts, operation=task, device=CPU)  # type: ignore[arg-type]


@KINDS
def test_rounded_model_passes_and_its_distance_is_logged(
    make_model: ModelFactory, caplog: pytest.LogCaptureFixture, kind: str, task: Operation
) -> None:
    with caplog.at_level(logging.INFO):
        check(make_model(kind=kind), make_model(kind=kind), task)
    assert "in 8 bits, this model is " in caplog.text


@KINDS
def test_model_with_other_values_is_refused(make_model: ModelFactory, kind: str, task: Operation) -> None:
    with pytest.raises(BadSetting, match=r"dtype is 'fp8', .* is allowed.*--dtype auto"):
        check(make_model(kind=kind, seed=1), make_model(kind=kind), task)


def test_check_without_prompts_is_refused(make_model: ModelFactory) -> None:
    with pytest.raises(BadSetting, match="max_model_len"):
        check(make_model(), make_model(), RERANK, prompts=())


def test_nan_gives_a_nan_distance() -> None:
    assert np.isnan(log_odds_distance(np.array([1.0, np.nan]), np.array([1.0, 2.0])))


def test_distance_compares_scores_or_directions() -> None:
    assert log_odds_distance(np.array([1.0, 5.0]), np.array([1.0, 2.0])) == pytest.approx(3 / np.sqrt(2))
    east, north = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    assert cosine_distance(np.array([east, east]), np.array([east, north])) == pytest.approx(0.5)
