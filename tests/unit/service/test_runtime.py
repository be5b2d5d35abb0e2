"""Start, ready, drain, close; and a dead engine is loud."""

from __future__ import annotations

import asyncio

import pytest

from shortlist.engine.fake import FakeEngine
from shortlist.errors import Draining, EngineUnavailable, NotFound
from shortlist.service.runtime import State
from shortlist.types import Batch, EmbedTask, RerankTask
from tests.support.house import running, runtime

TASK = RerankTask(query="fox", documents=("fox", "cat"))


def _dies(_: Batch) -> None:
    raise EngineUnavailable("it died")


async def test_nothing_is_served_before_the_start() -> None:
    service = runtime()
    assert not service.is_ready
    with pytest.raises(Draining):
        await service.rerank(TASK)


async def test_ready_after_the_start_and_not_after_the_end() -> None:
    service = runtime()
    async with running(service):
        assert service.is_ready
    assert service.state is State.CLOSED
    with pytest.raises(Draining):
        await service.rerank(TASK)


async def test_two_models_have_two_stacks() -> None:
    one, two = FakeEngine(), FakeEngine()
    async with running(runtime(one, two)) as service:
        outcome = await service.rerank(RerankTask(query="fox", documents=("fox",), model="fake-1"))
    assert outcome.model == "fake-1"
    assert (len(one.batches), len(two.batches)) == (0, 1)


async def test_unknown_model_is_refused() -> None:
    async with running(runtime()) as service:
        with pytest.raises(NotFound):
            await service.embed(EmbedTask(texts=("a",), model="nobody"))


async def test_drain_waits_for_running_requests_and_takes_no_new_ones() -> None:
    service = runtime(FakeEngine(step_s=0.1))
    async with running(service):
        request = asyncio.create_task(service.rerank(TASK))
        await asyncio.sleep(0.02)
        draining = asyncio.create_task(service.drain(5))
        await asyncio.sleep(0.01)
        assert not service.is_ready
        assert service.is_alive
        with pytest.raises(Draining):
            await service.rerank(TASK)
        assert await draining
        assert request.done()
        assert [ranked.index for ranked in request.result().results] == [0, 1]


async def test_drain_gives_up_in_time_on_a_stuck_engine() -> None:
    service = runtime(FakeEngine(step_s=60))
    async with running(service):
        request = asyncio.create_task(service.rerank(TASK))
        await asyncio.sleep(0.01)
        assert not await service.drain(0.05)
        request.cancel()


async def test_idle_server_drains_at_once() -> None:
    async with running(runtime()) as service:
        assert await service.drain(0.01)


async def test_dead_engine_ends_readiness_and_everybody_is_told() -> None:
    service = runtime(FakeEngine(fault=_dies), FakeEngine())
    async with running(service):
        with pytest.raises(EngineUnavailable):
            await service.rerank(TASK)
        await asyncio.wait_for(service.failed.wait(), 1)
        assert not service.is_ready
        assert not service.is_alive
        with pytest.raises(EngineUnavailable):
            await service.rerank(TASK)


async def test_closing_tells_whoever_still_waits(caplog: pytest.LogCaptureFixture) -> None:
    service = runtime(FakeEngine(step_s=60))
    async with running(service):
        requests = [asyncio.create_task(service.rerank(TASK)), asyncio.create_task(service.embed(EmbedTask(texts=("a",))))]
        await asyncio.sleep(0.02)
    answers = await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), 5)
    assert all(isinstance(answer, EngineUnavailable) for answer in answers), answers
    assert service.num_running == 0
    assert not service.failed.is_set()
    assert caplog.records == []


async def test_closing_frees_every_engine() -> None:
    engines = FakeEngine(), FakeEngine()
    service = runtime(*engines)
    async with running(service):
        pass
    await service.close()
    assert all(engine.is_closed for engine in engines)
