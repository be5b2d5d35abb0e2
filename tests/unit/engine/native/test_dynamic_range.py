"""float16 is used if it holds a model's numbers: massive activations, large weights and NaN are detected."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shortlist.engine.native.dynamic_range import SAFE, AbsMax, absmax, fitting_dtype
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.qwen3 import Qwen3, Qwen3Weights
from shortlist.engine.native.runner import Runner
from shortlist.engine.native.weights import load_weights
from shortlist.types import EMBED, RERANK, Operation, TokenPrompt
from tests.support.fixtures import ModelFactory
from tests.support.native import batch_of, prefix_of, prompt_of, run_batch

CPU = torch.device("cpu")
PROMPTS = [prompt_of(prefix_of(5), length) for length in (1, 4, 20)]

Changed = Callable[..., Path]
NOTHING: Mapping[str, float] = {}


@pytest.fixture
def changed(make_model: ModelFactory, tmp_path: Path) -> Changed:
    """Makes a tiny model with some tensors multiplied by `factors`, and the last number of others replaced by `numbers`."""

    def make(factors: Mapping[str, float] = NOTHING, numbers: Mapping[str, float] = NOTHING) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(make_model(), folder)
        weights = load_file(folder / "model.safetensors")
        for name, factor in factors.items():
            weights[name] *= factor
        for name, number in numbers.items():
            weights[name].view(-1)[-1] = number
        save_file(weights, folder / "model.safetensors")
        return folder

    return make


def measure(folder: Path, prompts: Sequence[TokenPrompt] = PROMPTS) -> AbsMax:
    return absmax(*loading(folder), prompts, device=CPU)


def loading(folder: Path, task: Operation = RERANK) -> tuple[Callable[..., Qwen3Weights], Qwen3Config]:
    config = Qwen3Config.read(folder)
    return partial(load_weights, folder, config, operation=task), config


def choose(folder: Path, task: Operation = RERANK, prompts: Sequence[TokenPrompt] = PROMPTS) -> torch.dtype:
    return fitting_dtype(torch.bfloat16, *loading(folder, task), prompts, device=CPU)


# -- the decision --


@pytest.mark.parametrize(("kind", "task"), [("reranker", RERANK), ("seqcls", RERANK), ("embedder", EMBED)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_model_with_small_numbers_uses_float16(make_model: ModelFactory, kind: str, task: Operation, dtype: str) -> None:
    assert choose(make_model(kind=kind, dtype=dtype), task) is torch.float16


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("input_layernorm", "normalised"),
        ("self_attn.q_norm", "heads"),
        ("self_attn.k_norm", "heads"),
        ("post_attention_layernorm", "normalised"),
        ("self_attn.q_proj", "queries"),
        ("self_attn.k_proj", "keys"),
        ("self_attn.v_proj", "values"),
        ("self_attn.o_proj", "after attention"),
        ("mlp.gate_proj", "inside the MLP"),
        ("mlp.up_proj", "inside the MLP"),
        ("mlp.down_proj", "after the MLP"),
    ],
)
def test_large_activations_are_found_without_large_weights(changed: Changed, name: str, what: str) -> None:
    folder = changed({f"model.layers.1.{name}.weight": 2.5e4})
    _, layer, _ = measure(folder).layers
    assert layer.get("weights", 0.0) < SAFE < layer[what]
    assert choose(folder) is torch.bfloat16


def test_large_gated_product_is_found_without_large_factors(changed: Changed) -> None:
    factors = {"gate": 600.0, "up": 600.0, "down": 1e-6}
    folder = changed({f"model.layers.1.mlp.{name}_proj.weight": factor for name, factor in factors.items()})
    _, layer, _ = measure(folder).layers
    assert max(layer["weights"], layer["after the MLP"]) < SAFE < layer["inside the MLP"]


@pytest.mark.parametrize("number", [65_504.0, -65_504.0, math.inf, math.nan])
def test_one_large_weight_of_an_unused_token_is_found(changed: Changed, number: float) -> None:
    """The last row of the embedding belongs to a token of none of the prompts."""
    folder = changed(numbers={"model.embed_tokens.weight": number})
    assert choose(folder) is torch.bfloat16


def test_usual_dtype_without_prompts(make_model: ModelFactory) -> None:
    assert choose(make_model(), prompts=[]) is torch.bfloat16


def test_decision_and_largest_number_are_logged(
    changed: Changed, make_model: ModelFactory, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        choose(make_model())
        choose(changed(numbers={"model.embed_tokens.weight": -20_000.0}))
    safe, unsafe = (record.getMessage() for record in caplog.records)
    assert "is float16 on cpu" in safe
    assert "is bfloat16 on cpu" in unsafe
    assert "20,000" in unsafe
    assert "16,384" in unsafe


# -- the recorded magnitudes --


def test_recorded_magnitudes_match_a_plain_forward_pass(make_model: ModelFactory) -> None:
    """Compares the sums of every layer with those of plain computation of the same prompts."""
    folder = make_model()
    load, config = loading(folder)
    weights = load(dtype=torch.float32, device=CPU)
    states: list[torch.Tensor] = []

    class Seen(Qwen3):
        def _layer(self, *given: object) -> None:
            super()._layer(*given)  # type: ignore[arg-type]
            states.append(torch.cat(given[1]).abs().max())  # type: ignore[arg-type]

    run_batch(Runner(Seen(config, weights, is_pruned=False), max_model_len=4096), batch_of(PROMPTS))
    for layer, greatest in zip(measure(folder).layers, states, strict=True):
        assert layer["after the MLP"] >= float(greatest) * (1 - 1e-5)


def test_heads_are_bounded_for_every_prompt(changed: Changed) -> None:
    """A normalised head of 16 has at most 4 in one number, before its weight."""
    folder = changed(numbers={"model.layers.0.self_attn.k_norm.weight": 100.0})
    head_dim = json.loads((folder / "config.json").read_text())["head_dim"]
    assert measure(folder).layers[0]["heads"] == pytest.approx(100 * math.sqrt(head_dim))


def test_weights_keep_their_stored_dtype(make_model: ModelFactory) -> None:
    load, _ = loading(make_model(dtype="bfloat16"))
    assert load(dtype=None, device=CPU).embedding.dtype is torch.bfloat16
