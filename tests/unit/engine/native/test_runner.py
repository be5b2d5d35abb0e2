from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.runner import Runner, pack_prompts
from shortlist.errors import EngineError
from shortlist.types import (
    EMBED,
    RERANK,
    Batch,
    TextPrefix,
    TextPrompt,
    TokenPrefix,
    TokenPrompt,
    WorkItem,
)
from tests.support import qwen
from tests.support.fixtures import ModelFactory
from tests.support.native import batch_of, model_of, prefix_of, prompt_of, run_batch


def ids(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.asarray(numbers, dtype=np.int32)


@pytest.fixture(scope="module")
def model(make_model: ModelFactory) -> Qwen3:
    return model_of(make_model())


@pytest.fixture(scope="module")
def embedder(make_model: ModelFactory) -> Qwen3:
    return model_of(make_model(kind="embedder"), task=EMBED)


# -- packing --


def test_prefixes_are_packed_once_before_their_prompts() -> None:
    one, other = TokenPrefix(ids(1, 2, 3)), TokenPrefix(ids(7))
    pack = pack_prompts([TokenPrompt(one, ids(10, 11)), TokenPrompt(other, ids(20)), TokenPrompt(one, ids(12))])
    assert pack.ids_T.tolist() == [1, 2, 3, 10, 11, 12, 7, 20]
    assert pack.positions_T.tolist() == [0, 1, 2, 3, 4, 3, 0, 1]
    assert pack.order == (0, 2, 1)
    assert pack.layout.scored_rows == [4, 5, 7]
    assert pack.layout.num_tokens == 8
    assert [(span.rows, span.prefix) for span in pack.layout.spans] == [
        (range(3), range(0)),
        (range(3, 5), range(3)),
        (range(5, 6), range(3)),
        (range(6, 7), range(0)),
        (range(7, 8), range(6, 7)),
    ]


def test_empty_prefix_takes_no_rows() -> None:
    pack = pack_prompts([TokenPrompt(TokenPrefix(ids()), ids(5, 6))])
    assert pack.ids_T.tolist() == [5, 6]
    assert [(span.rows, span.is_scored) for span in pack.layout.spans] == [(range(2), True)]


def test_equal_prefixes_of_two_requests_stay_separate() -> None:
    pack = pack_prompts([TokenPrompt(TokenPrefix(ids(1, 2)), ids(5)), TokenPrompt(TokenPrefix(ids(1, 2)), ids(5))])
    assert pack.ids_T.tolist() == [1, 2, 5, 1, 2, 5]


def test_packed_sequence_has_the_tokens_of_the_batch() -> None:
    prefixes = [prefix_of(4), prefix_of(9)]
    prompts = [prompt_of(prefixes[index % 2], index + 1) for index in range(6)]
    assert pack_prompts(prompts).layout.num_tokens == batch_of(prompts).num_tokens


# -- values --


def test_scores_come_in_the_batchs_order(model: Qwen3) -> None:
    prefixes = [prefix_of(4), prefix_of(9), prefix_of(0)]
    prompts = [prompt_of(prefixes[index % 3], 5, seed=index) for index in range(9)]
    runner = Runner(model, max_model_len=100)
    alone = [run_batch(runner, batch_of([prompt]))[0] for prompt in prompts]
    assert run_batch(runner, batch_of(prompts)) == pytest.approx(alone, abs=1e-5)
    assert all(type(score) is float for score in alone)


def test_vectors_are_unit_length_float32_with_memory_of_their_own(embedder: Qwen3) -> None:
    prompts = [prompt_of(prefix_of(4), length) for length in (1, 5, 9)]
    vectors = run_batch(Runner(embedder, max_model_len=100), batch_of(prompts, EMBED))
    for vector in vectors:
        assert isinstance(vector, np.ndarray)
        assert vector.shape == (64,)
        assert vector.dtype == np.dtype("float32")
        assert vector.base is None
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_nothing_of_a_batch_is_kept(model: Qwen3) -> None:
    prompts = [prompt_of(prefix_of(4), 50)]
    ids_ref = weakref.ref(prompts[0].ids)
    runner = Runner(model, max_model_len=100)
    run_batch(runner, batch_of(prompts))
    del prompts
    gc.collect()
    assert ids_ref() is None


# -- prompts that are refused before they reach the device --


def test_prompt_longer_than_the_limit_is_refused(model: Qwen3) -> None:
    runner = Runner(model, max_model_len=20)
    assert len(run_batch(runner, batch_of([prompt_of(prefix_of(10), 10)]))) == 1
    with pytest.raises(EngineError, match="20 tokens"):
        run_batch(runner, batch_of([prompt_of(prefix_of(10), 11)]))


@pytest.mark.parametrize("wrong", [-1, qwen.VOCAB_SIZE, 2**31 - 1])
def test_ids_outside_the_vocabulary_are_refused(model: Qwen3, wrong: int) -> None:
    runner = Runner(model, max_model_len=20)
    with pytest.raises(EngineError, match="vocabulary"):
        run_batch(runner, batch_of([TokenPrompt(TokenPrefix(ids(1)), ids(1, wrong))]))
    with pytest.raises(EngineError, match="vocabulary"):
        run_batch(runner, batch_of([TokenPrompt(TokenPrefix(ids(wrong)), ids(1))]))


def test_text_is_refused(model: Qwen3) -> None:
    item = WorkItem(1, 0, TextPrompt(TextPrefix("secret", 1), "secret", 1))
    with pytest.raises(EngineError, match="token ids") as caught:
        run_batch(Runner(model, max_model_len=20), Batch(RERANK, (item,)))
    assert "secret" not in caught.value.message


def test_prompt_without_tokens_is_refused(model: Qwen3) -> None:
    with pytest.raises(EngineError, match="at least one"):
        run_batch(Runner(model, max_model_len=20), batch_of([TokenPrompt(prefix_of(3), ids())]))


def test_embedder_cannot_score(embedder: Qwen3) -> None:
    with pytest.raises(EngineError, match="cannot rerank"):
        run_batch(Runner(embedder, max_model_len=20), batch_of([prompt_of(prefix_of(3), 3)]))
