"""A model can be unloaded and loaded again: what runs is finished, what waits is answered, and nothing is mixed up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from shortlist.errors import DeadlineExceeded, EngineUnavailable, ModelRefused, UnknownModel
from shortlist.scheduler.served_model import ModelState, ServedModel
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics
from shortlist.types import Batch, RequestOptions, RerankTask, TokenizeTask
from tests.support.apps import running, served, settings
from tests.support.fake_engine import FakeEngine
from tests.support.simulated import simulated
from tests.support.words import WordEncoder

ASK = RerankTask(query="fox", documents=("red fox", "cat"))


def ask(timeout_s: float | None) -> RerankTask:
    return RerankTask(query="fox", documents=("red fox",), options=RequestOptions(timeout_s=timeout_s))


def service_of(engine: FakeEngine, load: Callable[[], FakeEngine] = FakeEngine, **flat: Any) -> tuple[Runtime, ServedModel]:
    """Return a runtime of one model that `load` loads again, and that model."""
    metrics = Metrics()
    one = served(engine, metrics=metrics, **flat)
    one.load_again = lambda: (load(), WordEncoder())
    return Runtime([one], settings=settings(**flat), metrics=metrics), one


def scores(outcome: Any) -> list[tuple[int, float]]:
    return [(each.index, each.raw_score) for each in outcome.results]


def is_ready(service: Runtime) -> float | None:
    return service.metrics.registry.get_sample_value("shortlist_model_ready", {"model": "fake"})


@simulated
async def test_loaded_again_it_scores_the_same() -> None:
    engine = FakeEngine()
    service, one = service_of(engine)
    async with running(service):
        before = scores(await service.rerank(ASK))
        await service.unload(None)
        assert (one.state, engine.is_closed, len(one.cache), is_ready(service)) == (ModelState.UNLOADED, True, 0, 0)
        await service.load(None)
        assert (one.state, is_ready(service), service.is_ready) == (ModelState.LOADED, 1, True)
        assert scores(await service.rerank(ASK)) == before
        assert one.dispatcher.engine is one.engine


@simulated
async def test_unloaded_model_refuses_every_task_and_is_still_listed() -> None:
    service, _ = service_of(FakeEngine())
    async with running(service):
        await service.unload("fake")
        with pytest.raises(EngineUnavailable, match="fake is not loaded"):
            await service.rerank(ASK)
        with pytest.raises(EngineUnavailable, match="fake is not loaded"):
            await service.tokenize(TokenizeTask(texts=("a",)))
        assert [card.name for card in service.cards()] == ["fake"]
        assert service.is_ready, "other models are served"


@simulated
async def test_running_requests_are_finished_before_it_is_unloaded() -> None:
    engine = FakeEngine(step_s=1.0)
    service, one = service_of(engine)
    async with running(service):
        asked = asyncio.create_task(service.rerank(ASK))
        await asyncio.sleep(0.5)
        unloading = asyncio.create_task(service.unload(None))
        await asyncio.sleep(0.1)
        assert (one.state, engine.is_closed) == (ModelState.UNLOADING, False)
        with pytest.raises(EngineUnavailable):
            await service.rerank(ASK)
        assert len((await asked).results) == 2
        await unloading
        assert (one.state, engine.is_closed, one.num_running) == (ModelState.UNLOADED, True, 0)


@simulated
async def test_cancelled_unloading_leaves_it_loaded() -> None:
    service, one = service_of(FakeEngine(step_s=1.0))
    async with running(service):
        asked = asyncio.create_task(service.rerank(ASK))
        await asyncio.sleep(0.5)
        unloading = asyncio.create_task(service.unload(None))
        await asyncio.sleep(0.1)
        unloading.cancel()
        await asyncio.wait([unloading])
        assert one.state is ModelState.LOADED
        assert len((await asked).results) == len((await service.rerank(ASK)).results) == 2


class SlowTest:
    """A self-test that takes a second, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def __call__(self, _: ServedModel) -> None:
        await asyncio.sleep(1.0)
        if self.error is not None:
            raise self.error


@simulated
async def test_requests_wait_while_it_loads_within_their_deadlines() -> None:
    service, one = service_of(FakeEngine())
    async with running(service):
        await service.unload(None)
        service._run_selftest = SlowTest()  # type: ignore[method-assign,assignment]
        loading = asyncio.create_task(service.load(None))
        await asyncio.sleep(0.1)
        assert one.state is ModelState.LOADING
        patient = [asyncio.create_task(service.rerank(ask(timeout_s))) for timeout_s in (None, 5.0)]
        with pytest.raises(DeadlineExceeded):
            await service.rerank(ask(0.2))
        await loading
        assert [len(outcome.results) for outcome in await asyncio.gather(*patient)] == [1, 1]


@simulated
async def test_time_spent_waiting_counts_against_the_deadline() -> None:
    service, _ = service_of(FakeEngine(), lambda: FakeEngine(step_s=1.0))
    async with running(service):
        await service.unload(None)
        service._run_selftest = SlowTest()  # type: ignore[method-assign,assignment]
        loading = asyncio.create_task(service.load(None))
        await asyncio.sleep(0.1)
        with pytest.raises(DeadlineExceeded):
            await service.rerank(ask(1.5))
        await loading


@pytest.mark.parametrize("error", [ModelRefused("It failed its self-test."), OSError("no memory")])
@simulated
async def test_failed_loading_leaves_it_unloaded_and_can_be_repeated(error: Exception) -> None:
    engines: list[FakeEngine] = []

    def load() -> FakeEngine:
        engines.append(FakeEngine())
        return engines[-1]

    service, one = service_of(FakeEngine(), load)
    async with running(service):
        await service.unload(None)
        service._run_selftest = SlowTest(error)  # type: ignore[method-assign,assignment]
        loading = asyncio.create_task(service.load(None))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(service.rerank(ASK))
        with pytest.raises(type(error)):
            await loading
        with pytest.raises(EngineUnavailable, match="not loaded"):
            await waiting
        assert (one.state, engines[0].is_closed) == (ModelState.UNLOADED, True)
        service._run_selftest = SlowTest()  # type: ignore[method-assign,assignment]
        await service.load(None)
        assert len((await service.rerank(ASK)).results) == 2


async def test_cancelled_loading_leaves_it_unloaded_and_closes_what_it_loaded() -> None:
    is_loading, may_load, loaded = threading.Event(), threading.Event(), FakeEngine()

    def load() -> FakeEngine:
        is_loading.set()
        may_load.wait(timeout=30)
        return loaded

    service, one = service_of(FakeEngine(), load)
    async with running(service):
        await service.unload(None)
        loading = asyncio.create_task(service.load(None))
        async with asyncio.timeout(30):
            await asyncio.to_thread(is_loading.wait)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert one.state is ModelState.UNLOADED
        may_load.set()
        async with asyncio.timeout(30):
            while not loaded.is_closed:  # noqa: ASYNC110 - a thread changes it
                await asyncio.sleep(0.01)


@simulated
async def test_other_model_in_its_place_is_not_loaded() -> None:
    service, one = service_of(FakeEngine(), lambda: FakeEngine(max_model_len=5))
    async with running(service):
        await service.unload(None)
        with pytest.raises(EngineUnavailable, match="not the same"):
            await service.load(None)
        assert one.state is ModelState.UNLOADED


@simulated
async def test_concurrent_calls_change_it_once() -> None:
    loads = 0

    def load() -> FakeEngine:
        nonlocal loads
        loads += 1
        return FakeEngine()

    service, one = service_of(FakeEngine(), load)
    async with running(service):
        await asyncio.gather(service.unload(None), service.unload(None))
        await asyncio.gather(service.load(None), service.load(None))
        assert (loads, one.state) == (1, ModelState.LOADED)
        assert len((await service.rerank(ASK)).results) == 2


@simulated
async def test_model_that_fails_while_it_is_unloaded_is_not_restarted() -> None:
    def dies(_: Batch) -> None:
        raise EngineUnavailable("It died.")

    service, one = service_of(FakeEngine(step_s=1.0, fault=dies))
    one.restarts = True
    async with running(service):
        asked = asyncio.create_task(service.rerank(ASK))
        await asyncio.sleep(0.5)
        unloading = asyncio.create_task(service.unload(None))
        with pytest.raises(EngineUnavailable):
            await asked
        await unloading
        await asyncio.sleep(100.0)
        assert (one.state, service.is_ready) == (ModelState.UNLOADED, True)
        await service.load(None)
        assert len((await service.rerank(ASK)).results) == 2


@simulated
async def test_what_cannot_be_loaded_again_is_not_unloaded() -> None:
    service, one = service_of(FakeEngine())
    one.load_again = None
    async with running(service):
        with pytest.raises(EngineUnavailable, match="cannot be loaded again"):
            await service.unload(None)
        with pytest.raises(UnknownModel):
            await service.unload("other")
        assert one.state is ModelState.LOADED


@simulated
async def test_closing_an_unloaded_server_is_clean() -> None:
    service, _ = service_of(FakeEngine())
    async with running(service):
        await service.unload(None)
