"""Score: pairs get their rerank scores, in one request."""

from __future__ import annotations

import asyncio

import pytest

from shortlist.errors import EngineError, InvalidInput, Overloaded
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.text.encoder import Parts
from shortlist.types import Batch, RerankTask, ScoreTask, TextPrompt
from tests.support.apps import running, runtime, served, settings
from tests.support.fake_engine import FakeEngine
from tests.support.simulated import simulated
from tests.support.words import WordEncoder

PAIRS = (("red fox", "a cat"), ("blue bird", "the bird"), ("red fox", "the red fox"), ("blue bird", "the bird"))


async def test_pair_has_the_score_that_it_has_in_a_ranking() -> None:
    async with running(runtime()) as service:
        found = await service.score(ScoreTask(pairs=PAIRS))
        for (query, document), scored in zip(PAIRS, found.scores, strict=True):
            [ranked] = (await service.rerank(RerankTask(query=query, documents=(document,)))).results
            assert (scored.score, scored.raw_score) == (ranked.score, ranked.raw_score)


async def test_rerank_and_score_share_cache_keys() -> None:
    engine = FakeEngine()
    async with running(runtime(engine)) as service:
        await service.rerank(RerankTask(query="red fox", documents=("a cat",)))
        assert (await service.score(ScoreTask(pairs=PAIRS))).usage.num_cached == 1
        again = await service.rerank(RerankTask(query="blue bird", documents=("the bird",)))
        assert again.usage.num_cached == 1


async def test_equal_pairs_are_computed_once_and_all_of_them_together() -> None:
    engine = FakeEngine()
    async with running(runtime(engine)) as service:
        await service.score(ScoreTask(pairs=PAIRS * 3))
    assert [len(batch.items) for batch in engine.batches] == [3]


async def test_pairs_of_many_queries_are_one_request() -> None:
    pairs = tuple((f"query {number}", "document") for number in range(50))
    async with running(runtime(max_concurrent_requests=1)) as service:
        assert len((await service.score(ScoreTask(pairs=pairs))).scores) == 50


@simulated
async def test_whole_request_is_refused_without_headroom() -> None:
    engine = FakeEngine(step_s=0.05)
    async with running(runtime(engine, max_concurrent_requests=1)) as service:
        first = asyncio.create_task(service.score(ScoreTask(pairs=PAIRS)))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await service.score(ScoreTask(pairs=(("other", "text"),)))
        assert len((await first).scores) == 4


async def test_pair_that_fails_fails_all() -> None:
    def fault(batch: Batch) -> None:
        if any(isinstance(item.prompt, TextPrompt) and "cat" in item.prompt.text for item in batch.items):
            raise EngineError("Cats cannot be scored.")

    async with running(runtime(FakeEngine(fault=fault))) as service:
        with pytest.raises(EngineError, match="Cats"):
            await service.score(ScoreTask(pairs=PAIRS))


async def test_instruction_and_preset_change_the_score() -> None:
    async with running(runtime()) as service:
        plain, instructed = [
            (await service.score(ScoreTask(pairs=PAIRS[:1], instruction=instruction))).scores[0].raw_score
            for instruction in (None, "find a cat")
        ]
        [ranked] = (await service.rerank(RerankTask(query="red fox", documents=("a cat",), instruction="find a cat"))).results
        assert instructed == ranked.raw_score != plain
        with pytest.raises(InvalidInput, match="preset"):
            await service.score(ScoreTask(pairs=PAIRS, preset="unknown"))


class Unframing(WordEncoder):
    """Treats `<instruction|query` as a prompt template around query and document."""

    def strip_template(self, query: str, document: str) -> Parts | None:
        if not query.startswith("<"):
            return None
        instruction, _, words = query.removeprefix("<").partition("|")
        return Parts(instruction, words, document.removesuffix(">"))


async def test_pairs_with_a_template_do_not_get_it_twice() -> None:
    runtime = Runtime([served(encoder=Unframing())], settings=settings(), metrics=Metrics())
    async with running(runtime) as service:
        templated = await service.score(ScoreTask(pairs=(("<find|red fox", "a cat>"), ("red fox", "a cat"))))
        plain = await service.score(ScoreTask(pairs=(("red fox", "a cat"),), instruction="find"))
        usual = await service.score(ScoreTask(pairs=(("red fox", "a cat"),)))
        assert [each.raw_score for each in templated.scores] == [plain.scores[0].raw_score, usual.scores[0].raw_score]
        ranked = await service.rerank(RerankTask(query="<find|red fox", documents=("a cat>", "the red fox>")))
        right = await service.rerank(RerankTask(query="red fox", documents=("a cat", "the red fox"), instruction="find"))
        assert ranked.results == right.results
