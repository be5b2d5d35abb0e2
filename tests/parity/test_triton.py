"""The kernels for NVIDIA GPUs give the numbers of transformers, independent of a prompt's neighbours.

Without a GPU they run in Triton's interpreter, so models and prompts are small.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch

from shortlist.engine.base import EngineInfo
from shortlist.engine.native.native_engine import NativeEngine
from shortlist.engine.native.runner import Runner
from shortlist.types import EMBED, RERANK, TokenPrompt
from tests.support.engines import compute, explain
from tests.support.fixtures import ModelFactory
from tests.support.interpreter import DEVICE, model_of, runner_of, scores
from tests.support.native import Reference, batch_of, prefix_of, prompt_of, run_batch

pytestmark = pytest.mark.usefixtures("one_thread")

SCORE_BOUND = 1e-4
VECTOR_BOUND = 1e-5
SAME_BOUND = 1e-5


@pytest.fixture(scope="module")
def runner(make_model: ModelFactory) -> Runner:
    return runner_of(model_of(make_model()))


@pytest.fixture(scope="module")
def mixed() -> list[TokenPrompt]:
    """Three prefixes, prompts of several lengths, in no order."""
    prefixes = [prefix_of(17), prefix_of(3, seed=9), prefix_of(0)]
    return [prompt_of(prefixes[index % 3], length, seed=index) for index, length in enumerate([5, 18, 1, 16, 7])]


@pytest.fixture(scope="module")
def found(runner: Runner, mixed: list[TokenPrompt]) -> list[float]:
    return scores(runner, mixed)


def test_scores_equal_the_official_procedure(make_model: ModelFactory, mixed: list[TokenPrompt], found: list[float]) -> None:
    reference = Reference(make_model())
    expected = [reference.score(prompt) for prompt in mixed]
    assert np.std(expected) > 0.1
    assert found == pytest.approx(expected, abs=SCORE_BOUND)


def test_vectors_equal_the_official_procedure(make_model: ModelFactory) -> None:
    folder, prefix = make_model(kind="embedder"), prefix_of(0)
    reference, prompts = Reference(folder, "embedder"), [prompt_of(prefix, length) for length in (1, 20)]
    found = run_batch(runner_of(model_of(folder, task=EMBED)), batch_of(prompts, EMBED))
    for prompt, vector in zip(prompts, found, strict=True):
        np.testing.assert_allclose(vector, reference.embed(prompt), atol=VECTOR_BOUND, rtol=0)


def test_pruned_last_layer_changes_nothing(make_model: ModelFactory, mixed: list[TokenPrompt], found: list[float]) -> None:
    assert scores(runner_of(model_of(make_model(), is_pruned=False)), mixed) == pytest.approx(found, abs=SAME_BOUND)


def test_neighbours_and_order_change_nothing(runner: Runner, mixed: list[TokenPrompt], found: list[float]) -> None:
    assert scores(runner, mixed[::-2])[::-1] == pytest.approx(found[::2], abs=SAME_BOUND)
    assert scores(runner, mixed[1:2]) == pytest.approx(found[1:2], abs=SAME_BOUND)


def test_same_batch_twice_is_equal_to_the_bit(runner: Runner, mixed: list[TokenPrompt], found: list[float]) -> None:
    assert scores(runner, mixed) == found


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.full)])
def test_error_in_sixteen_bits_is_at_most_transformers_own(make_model: ModelFactory, dtype: torch.dtype) -> None:
    folder = make_model(dtype=str(dtype).removeprefix("torch."))
    prefix = prefix_of(5)
    prompts = [prompt_of(prefix, 1 + index // 4, seed=index) for index in range(24)]
    exact = np.array([Reference(folder).score(prompt) for prompt in prompts])
    rounded = Reference(folder, dtype=dtype)
    transformers = [rounded.score(prompt) for prompt in prompts] - exact
    native = scores(runner_of(model_of(folder, dtype=dtype)), prompts) - exact
    assert 0 < np.sqrt(np.mean(np.square(native))) <= 1.1 * np.sqrt(np.mean(np.square(transformers))), DEVICE


async def test_engine_whose_batches_overlap_gives_every_caller_its_own_score(make_model: ModelFactory) -> None:
    """With graphs that are recorded meanwhile, on one thread, and `explain` in between."""
    model, prefix = model_of(make_model(shape="null")), prefix_of(2)
    prompts = [prompt_of(prefix, length, seed=length) for length in (1, 2, 3, 4)]
    expected = [scores(runner_of(model), [prompt])[0] for prompt in prompts]
    info = EngineInfo(fingerprint="f", operations=frozenset({RERANK}), max_model_len=100, max_concurrent_batches=3)
    engine = NativeEngine(runner_of(model, bucket_tokens=(8,)), info)
    calls = [asyncio.ensure_future(compute(engine, batch_of([prompt]))) for prompt in prompts]
    [logits] = await explain(engine, batch_of(prompts[:1]))
    found = await asyncio.gather(*calls)
    engine.close()
    assert [score for [score] in found] == pytest.approx(expected, abs=SAME_BOUND)
    assert logits["yes"] - logits["no"] == pytest.approx(expected[0], abs=SAME_BOUND)
