"""An overflow of float16 gives NaN or infinity, for which the scheduler returns an error; neighbours keep their scores."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.runner import Runner
from shortlist.engine.native.weights import load_weights
from shortlist.types import RERANK, TokenPrompt
from tests.support.fixtures import ModelFactory
from tests.support.interpreter import DEVICE, model_of, runner_of, scores
from tests.support.native import prefix_of, prompt_of

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter, about what overflows

LARGE = 7
"""A token whose state is the largest number of float16."""

Change = Callable[[dict[str, torch.Tensor]], None]
MakeRunner = Callable[[Path, torch.dtype], Runner]


def plain(folder: Path, dtype: torch.dtype) -> Runner:
    config = Qwen3Config.read(folder)
    weights = load_weights(folder, config, operation=RERANK, dtype=dtype, device=DEVICE)
    return Runner(Qwen3(config, weights), max_model_len=100)


def triton(folder: Path, dtype: torch.dtype) -> Runner:
    return runner_of(model_of(folder, dtype=dtype))


@pytest.fixture
def changed(make_model: ModelFactory, tmp_path: Path) -> Callable[[Change], Path]:
    def make(change: Change) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(make_model(shape="tiny"), folder)
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")
        return folder

    return make


@pytest.mark.parametrize("make_runner", [plain, triton])
@pytest.mark.parametrize("layer", [0, 2])  # the last is pruned
@pytest.mark.parametrize(
    "name", [f"self_attn.{letter}_proj" for letter in "qkvo"] + [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
)
def test_overflow_of_any_product_is_no_score(
    changed: Callable[[Change], Path], make_runner: MakeRunner, name: str, layer: int
) -> None:
    def enlarge(weights: dict[str, torch.Tensor]) -> None:
        weights[f"model.layers.{layer}.{name}.weight"] *= 1e5

    folder = changed(enlarge)
    assert load_file(folder / "model.safetensors")[f"model.layers.{layer}.{name}.weight"].abs().max() < 65_504
    prompts = [prompt_of(prefix_of(2), 3)]
    assert not math.isfinite(*scores(make_runner(folder, torch.float16), prompts))
    assert math.isfinite(*scores(make_runner(folder, torch.float32), prompts))


@pytest.mark.parametrize("make_runner", [plain, triton])
def test_overflow_of_one_prompt_does_not_affect_its_neighbours(
    changed: Callable[[Change], Path], make_runner: MakeRunner
) -> None:
    def enlarge(weights: dict[str, torch.Tensor]) -> None:
        weights["model.embed_tokens.weight"][LARGE] = 65_504
        weights["model.layers.0.self_attn.o_proj.weight"] *= 100

    prefix = prefix_of(3)
    prompts = [prompt_of(prefix, 4), with_large(prompt_of(prefix, 5)), prompt_of(prefix, 6)]
    runner = make_runner(changed(enlarge), torch.float16)
    first, second, third = scores(runner, prompts)
    assert math.isnan(second)
    assert [first, third] == pytest.approx([scores(runner, [each])[0] for each in (prompts[0], prompts[2])], abs=1e-2)


def with_large(prompt: TokenPrompt) -> TokenPrompt:
    """Return the prompt with the large token first; its last token, which gives the score, stays."""
    ids = prompt.ids.copy()
    ids[0] = LARGE
    return TokenPrompt(prompt.prefix, ids)
