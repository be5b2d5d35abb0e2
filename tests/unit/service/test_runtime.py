"""Start, ready, drain, close; a failed engine fails all requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from shortlist.errors import Draining, EngineUnavailable, ModelRefused, NotFound
from shortlist.scheduler.served_model import Expectations
from shortlist.scheduler.shared_cache import SharedCache
from shortlist.service.runtime import Runtime, State
from shortlist.telemetry import Metrics
from shortlist.types import RERANK, Batch, EmbedTask, RerankTask
from tests.support.apps import running, runtime, served, settings
from tests.support.fake_engine import FakeEngine
from tests.support.oracle import OracleEngine
from tests.support.simulated import simulated

TASK = RerankTask(query="fox", documents=("fox", "cat"))


def _dies(_: Batch) -> None:
    raise EngineUnavailable("it died")


@simulated
async def test_nothing_is_served_before_the_start() -> None:
    service = runtime()
    assert not service.is_ready
    with pytest.raises(Draining):
        await service.rerank(TASK)


@simulated
async def test_ready_after_the_start_and_not_after_the_end() -> None:
    service = runtime()
    async with running(service):
        assert service.is_ready
    assert service.state is State.CLOSED
    with pytest.raises(Draining):
        await service.rerank(TASK)


@simulated
async def test_two_models_are_served_separately() -> None:
    one, two = FakeEngine(), FakeEngine()
    async with running(runtime(one, two)) as service:
        outcome = await service.rerank(RerankTask(query="fox", documents=("fox",), model="fake-1"))
    assert outcome.model == "fake-1"
    assert (len(one.batches), len(two.batches)) == (0, 1)


@simulated
async def test_unknown_model_is_refused() -> None:
    async with running(runtime()) as service:
        with pytest.raises(NotFound):
            await service.embed(EmbedTask(texts=("a",), model="unknown"))


@simulated
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


@simulated
async def test_drain_gives_up_in_time_on_a_stuck_engine() -> None:
    service = runtime(FakeEngine(step_s=60))
    async with running(service):
        request = asyncio.create_task(service.rerank(TASK))
        await asyncio.sleep(0.01)
        assert not await service.drain(0.05)
        request.cancel()


@simulated
async def test_idle_server_drains_at_once() -> None:
    async with running(runtime()) as service:
        assert await service.drain(0.01)


@simulated
async def test_failed_engine_ends_readiness_and_fails_all_requests() -> None:
    service = runtime(FakeEngine(fault=_dies), FakeEngine())
    async with running(service):
        with pytest.raises(EngineUnavailable):
            await service.rerank(TASK)
        await asyncio.wait_for(service.failed.wait(), 1)
        assert not service.is_ready
        assert not service.is_alive
        with pytest.raises(EngineUnavailable):
            await service.rerank(TASK)


@simulated
async def test_closing_fails_waiting_requests(caplog: pytest.LogCaptureFixture) -> None:
    service = runtime(FakeEngine(step_s=60))
    async with running(service):
        requests = [asyncio.create_task(service.rerank(TASK)), asyncio.create_task(service.embed(EmbedTask(texts=("a",))))]
        await asyncio.sleep(0.02)
    answers = await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), 5)
    assert all(isinstance(answer, EngineUnavailable) for answer in answers), answers
    assert service.num_running == 0
    assert not service.failed.is_set()
    assert caplog.records == []


@simulated
async def test_closing_frees_every_engine() -> None:
    engines = FakeEngine(), FakeEngine()
    service = runtime(*engines)
    async with running(service):
        pass
    await service.close()
    assert all(engine.is_closed for engine in engines)


class Sharing(SharedCache):
    """A shared cache that records its calls."""

    def __init__(self) -> None:
        self.life: list[str] = []

    async def start(self) -> None:
        self.life.append("started")

    async def close(self) -> None:
        self.life.append("closed")


@simulated
async def test_shared_cache_starts_once_for_all_models_and_is_closed_with_them() -> None:
    shared, metrics = Sharing(), Metrics()
    served_models = [replace(served(name=name, metrics=metrics), shared=shared) for name in ("one", "two")]
    async with running(Runtime(served_models, settings=settings(), metrics=metrics)) as service:
        assert service.is_ready
        assert shared.life == ["started"]
    assert shared.life == ["started", "closed"]


# -- the self-test ------------------------------------------------------------------------------------------------------


def reversed_head(scores: list[float]) -> list[float]:
    return [-score for score in scores]


def service_of(engine: FakeEngine, mode: str, notices: list[str] | None = None) -> Runtime:
    """Return a runtime of one reranker that must understand."""
    metrics = Metrics()
    served_models = [
        served(engine, metrics=metrics, operations=frozenset({RERANK}), expectations=Expectations(understands=True))
    ]
    notices = [] if notices is None else notices
    return Runtime(served_models, settings=settings(self_test=mode), metrics=metrics, notify=notices.append)


@simulated
async def test_ready_only_after_the_self_test() -> None:
    notices: list[str] = []
    service = service_of(OracleEngine(step_s=0.02), "strict", notices)
    starting = asyncio.create_task(service.start())
    await asyncio.sleep(0.05)
    assert service.metrics.registry.get_sample_value("shortlist_ready") == 0
    with pytest.raises(Draining):
        await service.rerank(TASK)
    await starting
    assert service.state is State.READY
    assert "passed" in notices[-1]
    await service.close()


@simulated
async def test_strict_self_test_refuses_a_failing_model_with_a_remedy() -> None:
    service = service_of(OracleEngine(scores=reversed_head), "strict")
    with pytest.raises(ModelRefused, match=r"fake failed its self-test \(meaning\).*--self-test warn"):
        await service.start()
    assert not service.is_ready
    await service.close()


@simulated
async def test_warn_serves_a_model_that_fails_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    notices: list[str] = []
    async with running(service_of(OracleEngine(scores=reversed_head), "warn", notices)) as service:
        assert service.is_ready
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert vars(record)["check"] == "meaning"
    assert "failed" in notices[-1]


@simulated
async def test_off_asks_the_engine_nothing() -> None:
    engine = OracleEngine(scores=reversed_head)
    async with running(service_of(engine, "off")) as service:
        assert service.is_ready
    assert engine.batches == []


@simulated
async def test_starting_twice_is_starting_once() -> None:
    engine = OracleEngine(step_s=0.002)
    service = service_of(engine, "strict")
    await asyncio.gather(service.start(), service.start())
    num_steps = len(engine.batches)
    await service.start()
    assert service.is_ready
    assert len(engine.batches) == num_steps
    assert [loop.get_name() for loop in service._tasks] == ["dispatcher fake", "watch fake", "watchdog"]
    await service.close()
    await service.start()
    assert service.state is State.CLOSED
