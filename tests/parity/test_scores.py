"""Scores and vectors equal those of transformers, unpadded and per prompt, on tiny models of the real architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shortlist.engine.native.qwen3 import Qwen3
from shortlist.types import EMBED, TokenPrefix, TokenPrompt
from tests.support.fixtures import ModelFactory
from tests.support.native import Reference, model_of, prefix_of, prompt_of, run, scores

LENGTHS = [1, 2, 3, 9, 63, 64, 65, 127, 128, 129, 300, 511, 512, 513, 1000, 2000]
SCORE_BOUND = 1e-4
VECTOR_BOUND = 1e-5
SAME_BOUND = 1e-5


@pytest.fixture(scope="module")
def model(make_model: ModelFactory) -> Qwen3:
    return model_of(make_model())


@pytest.fixture(scope="module")
def reference(make_model: ModelFactory) -> Reference:
    return Reference(make_model())


@pytest.fixture(scope="module")
def mixed() -> list[TokenPrompt]:
    """Three prefixes, prompts of all lengths, in no order."""
    prefixes = [prefix_of(77), prefix_of(130, seed=9), prefix_of(0)]
    return [
        prompt_of(prefixes[index % 3], length, seed=index) for index, length in enumerate([5, 200, 1, 64, 700, 3, 129, 40, 513])
    ]


def unshared(prompt: TokenPrompt) -> TokenPrompt:
    """Return a prompt with the same tokens and no shared prefix."""
    return TokenPrompt(TokenPrefix(prompt.prefix.ids[:0]), np.concatenate([prompt.prefix.ids, prompt.ids]))


# -- against transformers --


@pytest.mark.parametrize("num_prefix", [pytest.param(0, marks=pytest.mark.full), pytest.param(1, marks=pytest.mark.full), 80])
def test_scores_of_every_length(model: Qwen3, reference: Reference, num_prefix: int) -> None:
    prefix = prefix_of(num_prefix)
    prompts = [prompt_of(prefix, length) for length in LENGTHS]
    expected = [reference.score(prompt) for prompt in prompts]
    assert np.std(expected) > 0.1
    assert scores(model, prompts) == pytest.approx(expected, abs=SCORE_BOUND)


def test_scores_of_a_mixed_batch(model: Qwen3, reference: Reference, mixed: list[TokenPrompt]) -> None:
    assert scores(model, mixed) == pytest.approx([reference.score(prompt) for prompt in mixed], abs=SCORE_BOUND)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"tied": False}, marks=pytest.mark.full),
        pytest.param({"shards": 3}, marks=pytest.mark.full),
        {"dtype": "bfloat16"},
        pytest.param({"dtype": "float16"}, marks=pytest.mark.full),
        {"tied": False, "shards": 2},
    ],
)
def test_scores_of_other_checkpoints(make_model: ModelFactory, mixed: list[TokenPrompt], asked: dict[str, object]) -> None:
    folder = make_model(**asked)
    reference = Reference(folder)
    assert scores(model_of(folder), mixed) == pytest.approx([reference.score(prompt) for prompt in mixed], abs=SCORE_BOUND)


def test_scores_of_a_converted_classifier(make_model: ModelFactory, mixed: list[TokenPrompt]) -> None:
    folder = make_model(kind="seqcls")
    reference = Reference(folder, "seqcls")
    expected = [reference.classify(prompt) for prompt in mixed]
    assert scores(model_of(folder), mixed) == pytest.approx(expected, abs=SCORE_BOUND)


@pytest.mark.parametrize("num_prefix", [pytest.param(0, marks=pytest.mark.full), 25])
def test_vectors(make_model: ModelFactory, num_prefix: int) -> None:
    folder = make_model(kind="embedder")
    reference, model, prefix = Reference(folder, "embedder"), model_of(folder, task=EMBED), prefix_of(num_prefix)
    prompts = [prompt_of(prefix, length) for length in LENGTHS]
    for prompt, vector in zip(prompts, run(model, prompts, EMBED), strict=True):
        np.testing.assert_allclose(vector, reference.embed(prompt), atol=VECTOR_BOUND, rtol=0)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_older_style_of_configuration_means_the_same(make_model: ModelFactory, model: Qwen3, mixed: list[TokenPrompt]) -> None:
    folder = make_model(config={"rope_parameters": None, "rope_theta": 1_000_000.0, "rope_scaling": None})
    assert scores(model_of(folder), mixed) == scores(model, mixed)


def test_base_of_rotary_positions_matters(make_model: ModelFactory, mixed: list[TokenPrompt]) -> None:
    folder = make_model(config={"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}})
    expected = [Reference(folder).score(prompt) for prompt in mixed]
    assert scores(model_of(folder), mixed) == pytest.approx(expected, abs=SCORE_BOUND)


# -- invariance --


def test_shared_prefix_changes_nothing(model: Qwen3, mixed: list[TokenPrompt]) -> None:
    assert scores(model, mixed) == pytest.approx(scores(model, [unshared(prompt) for prompt in mixed]), abs=SAME_BOUND)


def test_pruned_last_layer_changes_nothing(make_model: ModelFactory, model: Qwen3, mixed: list[TokenPrompt]) -> None:
    assert scores(model, mixed) == pytest.approx(scores(model_of(make_model(), is_pruned=False), mixed), abs=SAME_BOUND)


@pytest.mark.parametrize(
    "chunk_tokens",
    [
        pytest.param(1, marks=pytest.mark.full),
        7,
        pytest.param(64, marks=pytest.mark.full),
        pytest.param(100_000, marks=pytest.mark.full),
    ],
)
def test_chunks_change_nothing(make_model: ModelFactory, model: Qwen3, mixed: list[TokenPrompt], chunk_tokens: int) -> None:
    chunked = model_of(make_model(), chunk_tokens=chunk_tokens)
    assert scores(model, mixed) == pytest.approx(scores(chunked, mixed), abs=SAME_BOUND)


def test_order_changes_nothing(model: Qwen3, mixed: list[TokenPrompt]) -> None:
    assert scores(model, mixed) == pytest.approx(scores(model, mixed[::-1])[::-1], abs=SAME_BOUND)


def test_neighbours_change_nothing(model: Qwen3, mixed: list[TokenPrompt]) -> None:
    together = scores(model, mixed)
    for index, prompt in enumerate(mixed):
        others = [prompt_of(other.prefix, other.num_tokens + 3, seed=99) for other in mixed]
        changed = [prompt if at == index else other for at, other in enumerate(others)]
        assert scores(model, [prompt]) == pytest.approx([together[index]], abs=SAME_BOUND)
        assert scores(model, changed)[index] == pytest.approx(together[index], abs=SAME_BOUND)


def test_same_batch_twice_is_equal_to_the_bit(model: Qwen3, mixed: list[TokenPrompt]) -> None:
    assert scores(model, mixed) == scores(model, mixed)


# -- 16 bits --


@pytest.fixture(scope="module")
def errors(make_model: ModelFactory) -> tuple[float, float]:
    """Root mean square errors in bfloat16 against fp32: native engine and transformers, over three models and 144 prompts."""
    native, transformers = [], []
    for seed in range(3):
        folder = make_model(dtype="bfloat16", seed=seed)
        prefix = prefix_of(60, seed=seed)
        prompts = [prompt_of(prefix, 1 + 5 * index, seed=index) for index in range(48)]
        exact = np.array([Reference(folder).score(prompt) for prompt in prompts])
        rounded = Reference(folder, dtype=torch.bfloat16)
        native.append(scores(model_of(folder, dtype=torch.bfloat16), prompts) - exact)
        transformers.append([rounded.score(prompt) for prompt in prompts] - exact)
    return float(np.sqrt(np.mean(np.square(native)))), float(np.sqrt(np.mean(np.square(transformers))))


def test_error_in_bfloat16_is_at_most_transformers_own(errors: tuple[float, float]) -> None:
    native, transformers = errors
    assert 0 < native <= 1.1 * transformers


def test_isolation_in_bfloat16(make_model: ModelFactory, mixed: list[TokenPrompt], errors: tuple[float, float]) -> None:
    model = model_of(make_model(dtype="bfloat16"), dtype=torch.bfloat16)
    alone = [scores(model, [prompt])[0] for prompt in mixed]
    moved = np.array(scores(model, mixed)) - np.array(alone)
    assert float(np.sqrt(np.mean(np.square(moved)))) <= errors[0]
    assert scores(model, mixed) == scores(model, mixed)
