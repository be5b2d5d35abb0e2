"""One suite for every engine: what the scheduler may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from shortlist.engine import workers
from shortlist.engine.base import Engine
from shortlist.engine.native.native_engine import NativeEngine
from shortlist.engine.sentence import BiEncoderEngine, CrossEncoderEngine
from shortlist.engine.vllm.vllm_engine import VllmEngine
from shortlist.errors import EngineError, EngineUnavailable
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.text.encoder import Encoder
from shortlist.text.text_encoder import TextEncoder
from shortlist.types import EMBED, RERANK, Batch, Operation, Prompt, WorkItem, in_order
from tests.support import qwen
from tests.support.encoded import prompts as only
from tests.support.engines import compute, explain
from tests.support.fake_engine import FakeEngine
from tests.support.fixtures import ModelFactory
from tests.support.ids import ByteEncoder
from tests.support.models import DEMO, cross_encoder
from tests.support.vllm import folder_of, missing_vllm, running
from tests.support.words import WordEncoder
from tests.support.workers import fake, visible

QUERY = "how do I read a json file in python"
DOCUMENTS = ["bake bread at 220 C", "open the file and call json.load", "蛇很大", "x", "the longest of them " * 30]
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Pair:
    """An engine and the encoder that spells for it."""

    engine: Engine
    encoder: Encoder
    tasks: frozenset[Operation]


def _native(make_model: ModelFactory, task: Operation) -> Pair:
    folder = make_model(kind="reranker" if task is RERANK else "embedder")
    engine = NativeEngine.load(folder, operation=task, max_model_len=2048, device="cpu", dtype="float32")
    encoder = QwenEncoder(folder / "tokenizer.json", operation=task, max_model_len=engine.info.max_model_len)
    return Pair(engine, encoder, engine.info.operations)


def _workers() -> Pair:
    with pytest.MonkeyPatch.context() as patch:
        visible(patch)
        engine = workers.start(fake, ["cpu", "cpu"])
    return Pair(engine, ByteEncoder(), engine.info.operations)


def _sentence(engine: CrossEncoderEngine | BiEncoderEngine) -> Pair:
    return Pair(engine, TextEncoder(engine.rules, engine.info.max_model_len), engine.info.operations)


def _cross(folder: Path) -> Pair:
    return _sentence(CrossEncoderEngine(cross_encoder(folder), device="cpu", max_model_len=512))


def _bi(folder: Path) -> Pair:
    del folder
    return _sentence(BiEncoderEngine(DEMO, device="cpu", max_model_len=512))


def _vllm(task: Operation) -> Pair:
    if (lack := missing_vllm()) is not None:
        pytest.skip(lack)
    kind: qwen.Kind = "reranker" if task is RERANK else "embedder"
    engine = running(kind)
    encoder = QwenEncoder(folder_of(kind) / "tokenizer.json", operation=task, max_model_len=engine.info.max_model_len)
    return Pair(engine, encoder, engine.info.operations)


REAL_VLLM = [pytest.mark.vllm, pytest.mark.timeout(900)]


@pytest.fixture(
    scope="module",
    params=[
        "fake",
        "native-reranker",
        "native-embedder",
        "workers",
        "cross-encoder",
        "bi-encoder",
        pytest.param("vllm-reranker", marks=REAL_VLLM),
        pytest.param("vllm-embedder", marks=REAL_VLLM),
    ],
)
def pair(request: pytest.FixtureRequest, make_model: ModelFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    builders: dict[str, Callable[[], Pair]] = {
        "fake": lambda: Pair(FakeEngine(), WordEncoder(), frozenset({RERANK, EMBED})),
        "native-reranker": lambda: _native(make_model, RERANK),
        "native-embedder": lambda: _native(make_model, EMBED),
        "workers": _workers,
        "cross-encoder": lambda: _cross(tmp_path_factory.mktemp("cross")),
        "bi-encoder": lambda: _bi(DEMO),
        "vllm-reranker": lambda: _vllm(RERANK),
        "vllm-embedder": lambda: _vllm(EMBED),
    }
    built = builders[request.param]()
    yield built
    if not isinstance(built.engine, VllmEngine):  # which others use, too
        built.engine.close()


def prompts(pair: Pair, task: Operation, query: str = QUERY) -> list[Prompt]:
    if task is RERANK:
        return only(pair.encoder.encode_pairs(query, DOCUMENTS))
    return only(pair.encoder.encode_texts(DOCUMENTS))


def batch(task: Operation, *jobs: list[Prompt]) -> Batch:
    items = [WorkItem(number, index, prompt) for number, job in enumerate(jobs) for index, prompt in enumerate(job)]
    return Batch(task, tuple(items))


async def values_of(pair: Pair, asked: Batch) -> np.ndarray:
    values = await compute(pair.engine, asked)
    assert len(values) == len(asked.items)
    return np.asarray(values)


def test_info_has_the_engines_capabilities(pair: Pair) -> None:
    info = pair.engine.info
    assert info.operations == pair.tasks
    assert info.fingerprint
    assert info.max_model_len > 0
    assert (info.dimensions is not None) is (EMBED in info.operations)
    assert info.max_concurrent_batches >= 1


async def test_scores_are_finite_floats_that_differ(pair: Pair) -> None:
    for task in pair.tasks & {RERANK}:
        values = await compute(pair.engine, batch(task, prompts(pair, task)))
        assert all(type(value) is float and np.isfinite(value) for value in values)
        assert len(set(values)) > 1


async def test_vectors_are_of_unit_length_and_memory_of_their_own(pair: Pair) -> None:
    for task in pair.tasks & {EMBED}:
        vectors = await compute(pair.engine, batch(task, prompts(pair, task)))
        assert all(vector.dtype == np.float32 and vector.shape == (pair.engine.info.dimensions,) for vector in vectors)
        np.testing.assert_allclose([np.linalg.norm(vector) for vector in vectors], 1, atol=1e-5)
        assert all(vector.base is None or vector.base.nbytes == vector.nbytes for vector in vectors)


async def test_value_does_not_depend_on_its_neighbours(pair: Pair) -> None:
    for task in pair.tasks:
        asked = prompts(pair, task)
        together = await values_of(pair, batch(task, asked))
        alone = np.concatenate([await values_of(pair, batch(task, [prompt])) for prompt in asked])
        np.testing.assert_allclose(together, alone, atol=TOLERANCE)


async def test_value_does_not_depend_on_the_order(pair: Pair) -> None:
    for task in pair.tasks:
        asked = prompts(pair, task)
        forwards = await values_of(pair, batch(task, asked))
        backwards = await values_of(pair, batch(task, asked[::-1]))
        np.testing.assert_allclose(forwards, backwards[::-1], atol=TOLERANCE)


async def test_requests_that_share_a_step_do_not_mix(pair: Pair) -> None:
    for task in pair.tasks:
        mine, other = prompts(pair, task), prompts(pair, task, query="pythons and other snakes")
        shared = await values_of(pair, batch(task, mine, other))
        np.testing.assert_allclose(shared[: len(mine)], await values_of(pair, batch(task, mine)), atol=TOLERANCE)
        np.testing.assert_allclose(shared[len(mine) :], await values_of(pair, batch(task, other)), atol=TOLERANCE)


async def test_same_batch_twice_is_bitwise_equal(pair: Pair) -> None:
    for task in pair.tasks:
        asked = batch(task, prompts(pair, task))
        np.testing.assert_array_equal(await values_of(pair, asked), await values_of(pair, asked))


async def test_operation_that_an_engine_lacks_is_an_engine_error(pair: Pair) -> None:
    for operation in {RERANK, EMBED} - pair.tasks:
        with pytest.raises(EngineError):
            await pair.engine.compute(operation, prompts(pair, in_order(pair.tasks)[0]))


async def test_explained_numbers_make_up_the_score(pair: Pair) -> None:
    for task in pair.tasks & {RERANK}:
        asked = batch(task, prompts(pair, task))
        explained = await explain(pair.engine, asked)
        made = [each["yes"] - each["no"] if "yes" in each else sum(each.values()) for each in explained]
        np.testing.assert_allclose(made, await values_of(pair, asked), atol=1e-4)


async def test_cancelled_call_leaves_the_engine_well(pair: Pair) -> None:
    task = in_order(pair.tasks)[0]
    asked = batch(task, prompts(pair, task))
    expected = await values_of(pair, asked)
    call = asyncio.ensure_future(values_of(pair, asked))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    np.testing.assert_array_equal(await values_of(pair, asked), expected)


async def test_closed_engine_is_gone_for_good(make_model: ModelFactory, tmp_path: Path) -> None:
    for pair in (_native(make_model, RERANK), _cross(tmp_path)):
        pair.engine.close()
        pair.engine.close()
        with pytest.raises(EngineUnavailable):
            await compute(pair.engine, batch(RERANK, prompts(pair, RERANK)))
