"""A score is the document's own: not its neighbours', not its place's, not the batch's, not the cache's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from shortlist.engine.base import Engine, EngineInfo
from shortlist.engine.native.native_engine import NativeEngine
from shortlist.errors import EngineError, EngineOutOfMemory
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import EMBED, RERANK, EmbedTask, Operation, Prompt, RerankOutcome, RerankTask, TokenPrompt, Vector
from tests.support import apps
from tests.support.encoded import prompts
from tests.support.examples import examples
from tests.support.fixtures import ModelFactory
from tests.support.texts import AWKWARD, SCRIPTS

LIMIT = 256
QUERIES = ["how do I read a json file", "光合作用", "Москва"]
POOL = [*SCRIPTS.values(), *AWKWARD[:20], *(text * 3 for text in SCRIPTS.values()), "a much longer text " * 80]
SLOW = settings(max_examples=examples(15, 50), deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.sampled_from(POOL) | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
documents = st.lists(texts, min_size=1, max_size=10)


@dataclass(frozen=True)
class Conditions:
    """What must not matter."""

    max_batch_tokens: int = 16_384
    max_batch_items: int = 1024
    cache_bytes: int = 0


ALONE = Conditions()
conditions = st.builds(
    Conditions,
    max_batch_tokens=st.sampled_from([LIMIT, LIMIT + 50, 700, 16_384]),
    max_batch_items=st.sampled_from([1, 2, 3, 1024]),
    cache_bytes=st.sampled_from([0, 2_000, 2**20]),
)


@dataclass(frozen=True)
class Flawed(Engine):
    """An engine that outlives its runtimes, and fails every batch with a guilty document in it."""

    engine: Engine
    guilty: frozenset[bytes] = frozenset()
    error: type[EngineError] = EngineError

    @property
    def info(self) -> EngineInfo:
        return self.engine.info

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        self._check(prompts)
        return await self.engine.compute(operation, prompts)

    def close(self) -> None:
        """The next example needs it."""

    def _check(self, prompts: Sequence[Prompt]) -> None:
        if any(_own(prompt) in self.guilty for prompt in prompts):
            raise self.error("a guilty document")


def _own(prompt: object) -> bytes:
    assert isinstance(prompt, TokenPrompt)
    return prompt.ids.tobytes()


@dataclass
class World:
    """One loaded model, and what it says of every text alone."""

    engine: Flawed
    encoder: QwenEncoder
    known: dict[tuple[str, str], float] = field(default_factory=dict, repr=False)

    def alone(self, query: str, document: str) -> float:
        if (query, document) not in self.known:
            outcome = asyncio.run(self.rank(ALONE, (query, [document])))[0]
            self.known[query, document] = outcome.results[0].raw_score
        return self.known[query, document]

    async def rank(self, under: Conditions, *asked: tuple[str, list[str]], times: int = 1) -> list[RerankOutcome]:
        """Ask all at once, as often as said; return the last answers."""
        async with apps.running(self._runtime(under)) as service:
            tasks = [RerankTask(query=query, documents=tuple(texts)) for query, texts in asked]
            for _ in range(times - 1):
                await asyncio.gather(*(service.rerank(task) for task in tasks))
            return await asyncio.gather(*(service.rerank(task) for task in tasks))

    async def embed(self, under: Conditions, *asked: list[str]) -> list[Sequence[Vector]]:
        async with apps.running(self._runtime(under)) as service:
            found = await asyncio.gather(*(service.embed(EmbedTask(texts=tuple(each))) for each in asked))
            return [outcome.vectors for outcome in found]

    def spoiled(self, query: str, guilty: Sequence[str], error: type[EngineError]) -> World:
        """The same, with documents that cannot be computed for this query."""
        ids = frozenset(_own(prompt) for prompt in prompts(self.encoder.encode_pairs(query, guilty)))
        return replace(self, engine=replace(self.engine, guilty=ids, error=error))

    def _runtime(self, under: Conditions) -> Runtime:
        flat = {"max_model_len": LIMIT, **vars(under)}
        served = apps.served(self.engine, self.encoder, operations=self.engine.info.operations, **flat)
        return Runtime([served], settings=apps.settings(**flat), metrics=Metrics())


def load(folder: Path, task: Operation) -> Iterator[World]:
    engine = NativeEngine.load(folder, operation=task, max_model_len=LIMIT, device="cpu", dtype="float32")
    yield World(Flawed(engine), QwenEncoder(folder / "tokenizer.json", operation=task, max_model_len=LIMIT))
    engine.close()


@pytest.fixture(scope="module")
def reranker(make_model: ModelFactory) -> Iterator[World]:
    yield from load(make_model(), RERANK)


@pytest.fixture(scope="module")
def embedder(make_model: ModelFactory) -> Iterator[World]:
    yield from load(make_model(kind="embedder"), EMBED)


def check(world: World, query: str, texts: Sequence[str], outcome: RerankOutcome) -> None:
    """Every document that was scored has the score it has alone."""
    assert {ranked.index for ranked in outcome.results} | {failed.index for failed in outcome.failed} == set(range(len(texts)))
    for ranked in outcome.results:
        expected = pytest.approx(world.alone(query, texts[ranked.index]), rel=1e-6, abs=1e-5)
        assert ranked.raw_score == expected, ranked.index


@SLOW
@given(query=st.sampled_from(QUERIES), texts=documents, under=conditions, order=st.randoms(use_true_random=False))
def test_neighbours_order_and_batches_change_nothing(
    reranker: World, query: str, texts: list[str], under: Conditions, order: random.Random
) -> None:
    shuffled = order.sample([*texts, *texts[:3]], k=len(texts) + len(texts[:3]))  # some of them twice
    [outcome] = asyncio.run(reranker.rank(under, (query, shuffled)))
    check(reranker, query, shuffled, outcome)


@SLOW
@given(requests=st.lists(st.tuples(st.sampled_from(QUERIES), documents), min_size=2, max_size=5), under=conditions)
def test_other_requests_change_nothing(reranker: World, requests: list[tuple[str, list[str]]], under: Conditions) -> None:
    outcomes = asyncio.run(reranker.rank(under, *requests))
    for (query, texts), outcome in zip(requests, outcomes, strict=True):
        check(reranker, query, texts, outcome)


@SLOW
@given(query=st.sampled_from(QUERIES), texts=documents, under=conditions, times=st.integers(2, 3))
def test_remembering_changes_nothing(reranker: World, query: str, texts: list[str], under: Conditions, times: int) -> None:
    [outcome] = asyncio.run(reranker.rank(under, (query, texts), times=times))
    check(reranker, query, texts, outcome)


@SLOW
@given(
    query=st.sampled_from(QUERIES),
    marked=st.lists(st.tuples(texts, st.booleans()), min_size=2, max_size=10, unique_by=lambda pair: pair[0]),
    under=conditions,
    error=st.sampled_from([EngineError, EngineOutOfMemory]),
)
def test_neighbour_that_fails_changes_nothing(
    reranker: World, query: str, marked: list[tuple[str, bool]], under: Conditions, error: type[EngineError]
) -> None:
    texts = [text for text, _ in marked]
    spoiled = reranker.spoiled(query, [text for text, is_guilty in marked if is_guilty], error)
    condemned = {
        index
        for index, prompt in enumerate(prompts(reranker.encoder.encode_pairs(query, texts)))
        if _own(prompt) in spoiled.engine.guilty  # different texts may have equal tokens, or be equal after truncation
    }
    assume(len(condemned) < len(texts))
    innocent = (QUERIES[0], ["another request's document"])
    outcome, other = asyncio.run(spoiled.rank(under, (query, texts), innocent))
    check(reranker, query, texts, outcome)
    check(reranker, *innocent, other)
    assert {failed.index for failed in outcome.failed} == condemned


@SLOW
@given(requests=st.lists(documents, min_size=1, max_size=4), under=conditions)
def test_vector_is_the_texts_own(embedder: World, requests: list[list[str]], under: Conditions) -> None:
    found = asyncio.run(embedder.embed(under, *requests))
    [alone] = asyncio.run(embedder.embed(Conditions(max_batch_items=1), [text for texts in requests for text in texts]))
    np.testing.assert_allclose(np.concatenate([np.array(vectors) for vectors in found]), np.array(alone), rtol=0, atol=1e-6)
