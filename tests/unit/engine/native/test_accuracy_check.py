"""A model in 8 bits serves only if it says what the model in full says."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from shortlist.engine.native.accuracy_check import check_accuracy, distance
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.runner import Runner
from shortlist.engine.native.weights import load_weights
from shortlist.errors import BadSetting
from shortlist.types import Task
from tests.support.fixtures import ModelFactory
from tests.support.native import prefix_of, prompt_of

CPU = torch.device("cpu")
PROMPTS = [prompt_of(prefix_of(5), length) for length in (1, 4, 20)]
KINDS = pytest.mark.parametrize(
    ("kind", "task"), [("reranker", Task.RERANK), ("seqcls", Task.RERANK), ("embedder", Task.EMBED)]
)


def judge(served: Path, full: Path, task: Task, prompts: object = PROMPTS) -> None:
    """Compare the model of one folder, in bfloat16, with that of another, in full."""
    config = Qwen3Config.read(full)
    weights = load_weights(served, config, task=task, dtype=torch.bfloat16, device=CPU)
    load = partial(load_weights, full, config, task=task)
    runner = Runner(Qwen3(config, weights), max_model_len=100)
    check_accuracy(runner, load, config, prompts, task=task, device=CPU)  # type: ignore[arg-type]


@KINDS
def test_model_that_was_rounded_a_little_passes_and_how_far_it_is_is_said(
    make_model: ModelFactory, caplog: pytest.LogCaptureFixture, kind: str, task: Task
) -> None:
    with caplog.at_level(logging.INFO):
        judge(make_model(kind=kind), make_model(kind=kind), task)
    assert "In 8 bits, this model is " in caplog.text


@KINDS
def test_model_that_says_something_else_is_refused(make_model: ModelFactory, kind: str, task: Task) -> None:
    with pytest.raises(BadSetting, match=r"dtype is 'fp8', .* is allowed.*--dtype auto"):
        judge(make_model(kind=kind, seed=1), make_model(kind=kind), task)


def test_what_cannot_be_judged_is_refused(make_model: ModelFactory) -> None:
    with pytest.raises(BadSetting, match="max_model_len"):
        judge(make_model(), make_model(), Task.RERANK, prompts=())


def test_what_is_no_number_is_not_near() -> None:
    assert np.isnan(distance([1.0, float("nan")], [1.0, 2.0], Task.RERANK))


def test_distances_are_of_scores_or_of_directions() -> None:
    assert distance([1.0, 5.0], [1.0, 2.0], Task.RERANK) == pytest.approx(3 / np.sqrt(2))
    east, north = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    assert distance([east, east], [east, north], Task.EMBED) == pytest.approx(0.5)
