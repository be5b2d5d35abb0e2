"""Explaining takes the same path as ranking, and returns the logits of a score."""

from __future__ import annotations

import pytest

from shortlist.errors import EngineError, NotFound
from shortlist.types import Batch, OverflowPolicy, RerankTask, Span, Truncation
from tests.support.apps import running, runtime
from tests.support.fake_engine import FakeEngine

TASK = RerankTask(query="red fox", documents=("a cat", "the red fox", "a cat"))


async def test_score_and_its_numbers_agree_with_the_ranking() -> None:
    async with running(runtime(explain=True)) as service:
        ranking = await service.rerank(TASK)
        explanation = await service.explain(TASK)
    scores = {ranked.index: (ranked.score, ranked.raw_score) for ranked in ranking.results}
    for explained in explanation.documents:
        assert (explained.score, explained.raw_score) == scores[explained.index]
        assert explained.logits["yes"] - explained.logits["no"] == pytest.approx(explained.raw_score)
    assert explanation.documents[1].prompt == "red fox | the red fox"


async def test_cached_documents_are_marked() -> None:
    async with running(runtime(explain=True)) as service:
        await service.rerank(RerankTask(query="red fox", documents=("a cat",)))
        explanation = await service.explain(TASK)
    assert [each.is_cached for each in explanation.documents] == [True, False, True]


async def test_best_window_is_the_one_shown() -> None:
    task = RerankTask(
        query="red fox",
        documents=("a b red fox c",),
        on_overflow=OverflowPolicy.CHUNK,
        truncation=Truncation(max_tokens_per_doc=2),
    )
    async with running(runtime(explain=True)) as service:
        [explained] = (await service.explain(task)).documents
    assert explained.stats.best == Span(4, 11)
    assert explained.prompt == "red fox | red fox"


async def test_document_without_a_score_cannot_be_explained() -> None:
    def fault(_: Batch) -> None:
        raise EngineError("poison")

    async with running(runtime(FakeEngine(fault=fault), explain=True)) as service:
        with pytest.raises(EngineError, match="poison"):
            await service.explain(TASK)


async def test_server_explains_only_when_asked_to() -> None:
    async with running(runtime()) as service:
        with pytest.raises(NotFound, match="--explain"):
            await service.explain(TASK)
