"""Ranking: best first, ties in order, cached, deduplicated, and one failure fails one document."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.engine.base import ScoreScale
from shortlist.errors import BadScore, DeadlineExceeded, EngineError, InputTooLong, Overloaded
from shortlist.scheduler.cache import Entry
from shortlist.service.rerank import ranking, relevance
from shortlist.types import (
    RERANK,
    Batch,
    DocumentStats,
    OverflowPolicy,
    RequestOptions,
    RerankOutcome,
    RerankTask,
    Span,
    TextPrompt,
    Truncation,
)
from tests.support.apps import running, runtime
from tests.support.fake_engine import FakeEngine
from tests.support.simulated import simulated
from tests.support.words import WordEncoder


def entry(value: float) -> Entry:
    return Entry(RERANK, value, 1, DocumentStats(1, 1))


def order(outcome: RerankOutcome) -> list[int]:
    return [ranked.index for ranked in outcome.results]


def task(*documents: str, query: str = "red fox", **rest: object) -> RerankTask:
    return RerankTask(query=query, documents=documents, **rest)  # type: ignore[arg-type]


async def test_best_document_is_first() -> None:
    async with running(runtime()) as service:
        outcome = await service.rerank(task("a cat", "the red fox", "a red cat"))
    assert order(outcome) == [1, 2, 0]
    scores = [ranked.score for ranked in outcome.results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


async def test_ties_stay_in_the_callers_order() -> None:
    async with running(runtime()) as service:
        outcome = await service.rerank(task("x", "fox", "y", "fox ", "z"))
    assert order(outcome) == [1, 3, 0, 2, 4]


async def test_top_n_cuts_the_ranking() -> None:
    async with running(runtime()) as service:
        outcome = await service.rerank(task("a", "fox", "red fox", top_n=2))
    assert order(outcome) == [2, 1]


async def test_equal_documents_are_computed_once() -> None:
    engine = FakeEngine()
    async with running(runtime(engine)) as service:
        outcome = await service.rerank(task("fox", "cat", "fox", "fox"))
    assert sum(len(batch.items) for batch in engine.batches) == 2
    assert order(outcome) == [0, 2, 3, 1]
    assert outcome.usage.num_tokens == 4 * (2 + 2)  # query of two words, documents of one word and its end, four times


async def test_second_request_is_cached() -> None:
    engine = FakeEngine()
    async with running(runtime(engine)) as service:
        first = await service.rerank(task("fox", "cat"))
        second = await service.rerank(task("cat", "fox", "new"))
    assert sum(len(batch.items) for batch in engine.batches) == 3
    assert second.usage.num_cached == 2
    scores = {"fox": first.results[0].raw_score, "cat": first.results[1].raw_score}
    assert {("cat", "fox", "new")[r.index]: r.raw_score for r in second.results}.items() >= scores.items()


@pytest.mark.parametrize(
    "change",
    [
        {"query": "blue fox"},
        {"instruction": "find foxes"},
        {"truncation": Truncation(max_tokens_per_doc=1)},
        {"truncation": Truncation(max_tokens_per_query=9)},
        {"truncation": Truncation(truncate_prompt_tokens=9)},
        {"on_overflow": OverflowPolicy.ERROR},
        {"preset": "short"},
    ],
)
async def test_anything_that_changes_a_score_misses_the_cache(change: dict[str, object]) -> None:
    engine = FakeEngine()
    async with running(runtime(engine)) as service:
        await service.rerank(task("fox"))
        outcome = await service.rerank(task("fox", **{"query": "red fox", **change}))  # type: ignore[arg-type]
    assert outcome.usage.num_cached == 0
    assert len(engine.batches) == 2


async def test_fully_cached_request_needs_no_engine() -> None:
    engine = FakeEngine()
    async with running(runtime(engine)) as service:
        await service.rerank(task("fox", "cat"))
        again = await service.rerank(task("fox", "cat", "fox"))
    assert len(engine.batches) == 1
    assert again.usage.num_cached == 3
    assert again.timing.compute_s == 0


async def test_one_failed_document_does_not_fail_the_others() -> None:
    def fault(batch: Batch) -> None:
        if any(isinstance(item.prompt, TextPrompt) and item.prompt.text == "bad" for item in batch.items):
            raise EngineError("poison")

    engine = FakeEngine(fault=fault)
    async with running(runtime(engine)) as service:
        outcome = await service.rerank(task("cat", "bad", "red fox", "bad"))
    assert order(outcome) == [2, 0]
    assert [(each.index, each.error.message) for each in outcome.failed] == [(1, "poison"), (3, "poison")]


async def test_failures_are_not_cached() -> None:
    engine = FakeEngine(fault=_always_bad)
    async with running(runtime(engine)) as service:
        with pytest.raises(BadScore):
            await service.rerank(task("cat"))
        engine.fault = None
        assert order(await service.rerank(task("cat"))) == [0]


def _always_bad(_: Batch) -> None:
    raise BadScore("bad")


async def test_truncated_documents_are_listed_also_when_cached() -> None:
    service = runtime()
    service._registry.served_models[0].encoder.max_model_len = 5  # type: ignore[attr-defined]
    async with running(service):
        documents = ("one two three four five six", "fox")
        assert (await service.rerank(task(*documents))).truncated == [0]
        assert (await service.rerank(task(*documents))).truncated == [0]


async def test_document_that_must_not_be_cut_is_an_error() -> None:
    service = runtime()
    service._registry.served_models[0].encoder.max_model_len = 5  # type: ignore[attr-defined]
    async with running(service):
        with pytest.raises(InputTooLong) as error:
            await service.rerank(task("fox", "one two three four five six", on_overflow=OverflowPolicy.ERROR))
    assert error.value.param == "documents[1]"


@simulated
async def test_whole_request_is_refused_without_headroom() -> None:
    engine = FakeEngine(step_s=0.05)
    service = runtime(engine, max_concurrent_requests=1)
    async with running(service):
        import asyncio

        first = asyncio.create_task(service.rerank(task("fox")))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await service.rerank(task("cat"))
        await first
        assert order(await service.rerank(task("cat"))) == [0]


@simulated
async def test_deadline_ends_the_wait_and_gives_the_permit_back() -> None:
    service = runtime(FakeEngine(step_s=1.0))
    async with running(service):
        with pytest.raises(DeadlineExceeded):
            await service.rerank(task("fox", options=RequestOptions(timeout_s=0.02)))
        served = service._registry.served_models[0]
        assert (served.admission.load.num_requests, served.admission.load.num_tokens) == (0, 0)


async def test_texts_are_tokenised_once_per_request() -> None:
    encoder = WordEncoder()
    service = runtime()
    object.__setattr__(service._registry.served_models[0], "encoder", encoder)
    async with running(service):
        await service.rerank(task("a", "b", "a"))
    assert sorted(encoder.seen) == ["a", "b"]


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_ranking_is_a_stable_sort_by_raw_score(raw: list[float]) -> None:
    ranked = ranking([entry(value) for value in raw], ScoreScale.LOG_ODDS)
    assert [each.index for each in ranked] == sorted(range(len(raw)), key=lambda index: (-raw[index], index))


def test_scores_that_0_to_1_cannot_tell_apart_still_rank() -> None:
    ranked = ranking([entry(40.0), entry(41.0)], ScoreScale.LOG_ODDS)
    assert ranked[0].score == ranked[1].score == 1.0
    assert [each.index for each in ranked] == [1, 0]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_relevance_is_between_0_and_1(raw: float) -> None:
    assert all(0 <= relevance(raw, scale) <= 1 for scale in ScoreScale)


@pytest.mark.parametrize("raw", [-3.0, -0.1, 0.0, 2.5])
def test_relevance_of_log_odds_is_their_sigmoid(raw: float) -> None:
    assert relevance(raw, ScoreScale.LOG_ODDS) == pytest.approx(1 / (1 + math.exp(-raw)), rel=1e-12)


@pytest.mark.parametrize(("cosine", "score"), [(-0.5, 0.0), (0.0, 0.0), (0.7, 0.7), (1.0000001, 1.0)])
def test_relevance_of_a_cosine_is_its_positive_part(cosine: float, score: float) -> None:
    assert relevance(cosine, ScoreScale.COSINE) == score


@pytest.mark.parametrize(
    ("scale", "raw", "score"),
    [
        (ScoreScale.DOT, 3.0, 0.75),
        (ScoreScale.DOT, -2.0, 0.0),
        (ScoreScale.DISTANCE, 0.0, 1.0),
        (ScoreScale.DISTANCE, -3.0, 0.25),
    ],
)
def test_relevance_of_other_similarities_keeps_their_order(scale: ScoreScale, raw: float, score: float) -> None:
    assert relevance(raw, scale) == score


# -- documents that are too long ----------------------------------------------------------------------------------------


async def test_best_window_of_a_long_document_counts_and_is_named() -> None:
    service = runtime()
    document = "a b c d red fox e f g"
    async with running(service):
        chunked = await service.rerank(
            task(document, "red cat", on_overflow=OverflowPolicy.CHUNK, truncation=Truncation(max_tokens_per_doc=2))
        )
        alone = await service.rerank(task("red fox"))
    assert order(chunked) == [0, 1]
    assert chunked.results[0].raw_score == alone.results[0].raw_score
    stats = chunked.document_stats[0]
    assert stats is not None
    assert stats.best is not None
    assert document[stats.best.start : stats.best.end] == "red fox"
    assert (stats.num_windows, stats.num_tokens, stats.is_truncated) == (5, 9, False)


async def test_cached_window_is_returned_again() -> None:
    engine = FakeEngine()
    asked = task("a b red fox", on_overflow=OverflowPolicy.CHUNK, truncation=Truncation(max_tokens_per_doc=2))
    async with running(runtime(engine)) as service:
        first = await service.rerank(asked)
        second = await service.rerank(asked)
    assert len(engine.batches) == 1
    assert second.document_stats == first.document_stats == [DocumentStats(4, 4, num_windows=2, best=Span(4, 11))]


async def test_document_fails_if_one_of_its_windows_does() -> None:
    def fault(batch: Batch) -> None:
        if any(isinstance(item.prompt, TextPrompt) and item.prompt.text == "bad" for item in batch.items):
            raise EngineError("poison")

    async with running(runtime(FakeEngine(fault=fault))) as service:
        outcome = await service.rerank(
            task("red bad fox", "red", on_overflow=OverflowPolicy.CHUNK, truncation=Truncation(max_tokens_per_doc=1))
        )
    assert order(outcome) == [1]
    assert [each.index for each in outcome.failed] == [0]
    assert outcome.document_stats[0] is None


async def test_prompt_template_is_returned() -> None:
    async with running(runtime()) as service:
        plain = await service.rerank(task("fox"))
        preset = await service.rerank(task("fox", preset="short"))
        custom = await service.rerank(task("fox", instruction="find foxes"))
    assert [each.template.preset for each in (plain, preset, custom)] == ["default", "short", "custom"]
    assert plain.template.name == "words/1"


async def test_documents_are_counted_as_failed_even_if_none_is_left() -> None:
    def fault(_: Batch) -> None:
        raise EngineError("poison")

    service = runtime(FakeEngine(fault=fault))
    async with running(service):
        with pytest.raises(EngineError):
            await service.rerank(task("cat", "dog"))
    where = {"model": "fake", "error": "EngineError"}
    assert service.metrics.registry.get_sample_value("shortlist_failed_documents_total", where) == 2
