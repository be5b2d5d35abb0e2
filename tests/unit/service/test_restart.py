"""A failed engine restarts if configured; until then requests fail at once or at their deadlines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from shortlist.errors import DeadlineExceeded, EngineUnavailable
from shortlist.service.restart import FIRST_PAUSE_S, HEALTHY_S, MAX_PAUSE_S, Backoff
from shortlist.service.runtime import Runtime, State
from shortlist.telemetry import Metrics
from shortlist.types import Batch, RequestOptions, RerankTask, TextPrefix, TextPrompt
from tests.support.apps import running, served, settings
from tests.support.fake_engine import FakeEngine, log_odds
from tests.support.simulated import simulated
from tests.support.words import WordEncoder

PATIENCE_S = 5.0


def dies(_: Batch) -> None:
    raise EngineUnavailable("it died")


def apps(load: Callable[[], FakeEngine], **flat: Any) -> tuple[Runtime, FakeEngine]:
    """Return a runtime whose first engine fails at its first batch, and that engine."""
    first, metrics = FakeEngine(fault=dies), Metrics()
    one = served(first, metrics=metrics, **flat)
    one.load_again, one.restarts = (lambda: (load(), WordEncoder())), True
    return Runtime([one], settings=settings(**flat), metrics=metrics), first


def slow_house(**flat: Any) -> tuple[Runtime, asyncio.Event]:
    """Return a runtime whose engine can be restarted once an event is set."""
    gate = asyncio.Event()

    def load() -> FakeEngine:
        if not gate.is_set():
            raise OSError("no memory")
        return FakeEngine()

    return apps(load, **flat)[0], gate


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is polled
            await asyncio.sleep(0.001)


async def back(service: Runtime, times: int = 1) -> None:
    """Wait for this number of restarts."""
    value = service.metrics.registry.get_sample_value
    await until(lambda: value("shortlist_engine_restarts_total", {"model": "fake"}) == times and service.is_ready)


ASK = RerankTask(query="fox", documents=("red fox",))


@simulated
async def test_restarted_engine_scores_the_same() -> None:
    service, first = apps(FakeEngine)
    async with running(service):
        with pytest.raises(EngineUnavailable):
            await service.rerank(ASK)
        await back(service)
        outcome = await service.rerank(ASK)
        assert first.is_closed, "two engines at once may not fit into memory"
        assert not service.failed.is_set()
        assert service.metrics.registry.get_sample_value("shortlist_engine_restarts_total", {"model": "fake"}) == 1
    assert [each.raw_score for each in outcome.results] == [log_odds(TextPrompt(TextPrefix("fox", 1), "red fox", 2))]


@simulated
async def test_server_is_alive_and_not_ready_during_a_restart() -> None:
    service, gate = slow_house()
    async with running(service):
        with pytest.raises(EngineUnavailable):
            await service.rerank(ASK)
        await until(lambda: service.state is State.RESTARTING)
        assert service.is_alive
        assert not service.is_ready
        with pytest.raises(EngineUnavailable, match="is being restarted"):
            await service.rerank(ASK)
        gate.set()
        await back(service)


@simulated
async def test_failed_attempt_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortlist.service.restart.FIRST_PAUSE_S", 0.01)
    attempts = 0

    def load() -> FakeEngine:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise OSError("no memory")
        return FakeEngine()

    service, _ = apps(load)
    async with running(service):
        with pytest.raises(EngineUnavailable):
            await service.rerank(ASK)
        await back(service)
        assert len((await service.rerank(ASK)).results) == 1
    assert attempts == 3


@simulated
async def test_engine_that_fails_again_is_restarted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortlist.service.restart.FIRST_PAUSE_S", 0.01)
    engines = [FakeEngine(fault=dies), FakeEngine(fault=dies), FakeEngine()]
    service, _ = apps(lambda: engines.pop(0))
    async with running(service):
        for times in (1, 2, 3):
            with pytest.raises(EngineUnavailable):
                await service.rerank(ASK)
            await back(service, times)
        assert len((await service.rerank(ASK)).results) == 1


@simulated
async def test_other_model_in_its_place_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortlist.service.restart.FIRST_PAUSE_S", 0.01)
    others = [FakeEngine(max_model_len=5)]
    service, _ = apps(lambda: others.pop() if others else FakeEngine())
    async with running(service):
        with pytest.raises(EngineUnavailable):
            await service.rerank(ASK)
        await back(service)
        assert service.cards()[0].max_model_len == 8192


@simulated
async def test_engine_that_fails_its_self_test_after_a_restart_is_given_up() -> None:
    service, _ = apps(FakeEngine)
    object.__setattr__(service.settings.model, "self_test", "strict")
    service._run_selftest = _refuse  # type: ignore[method-assign,assignment]
    service.state = State.READY
    for one in service._registry.served_models:
        service._run(one)
    with pytest.raises(EngineUnavailable):
        await service.rerank(ASK)
    await asyncio.wait_for(service.failed.wait(), PATIENCE_S)
    assert service.state is State.FAILED
    await service.close()


async def _refuse(_: object) -> None:
    from shortlist.errors import ModelRefused

    raise ModelRefused("It failed its self-test.")


@simulated
async def test_closing_does_not_wait_for_an_engine_to_come_back() -> None:
    def load() -> FakeEngine:
        raise OSError("no memory")

    service, _ = apps(load)
    async with running(service):
        with pytest.raises(EngineUnavailable):
            await service.rerank(ASK)
        await until(lambda: service.state is State.RESTARTING)
        await asyncio.wait_for(service.close(), PATIENCE_S)
    assert service.state is State.CLOSED


def test_backoff_grows_up_to_a_limit_and_resets_after_a_healthy_period() -> None:
    backoff = Backoff()
    now_s, waited = 0.0, []
    for _ in range(10):
        waited.append(backoff.next_pause_s(now_s))
        now_s += waited[-1] + 1.0
    assert waited[:4] == [0.0, FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert waited[-1] == MAX_PAUSE_S
    assert backoff.next_pause_s(now_s + HEALTHY_S + 1) == 0.0


# -- requests that wait for a restart -----------------------------------------------------------------------------------


def patient_house(**flat: Any) -> tuple[Runtime, asyncio.Event]:
    """Return a runtime whose engine restarts once an event is set; its expected restart time is 0.1 s."""
    service, gate = slow_house(**flat)
    [one] = service._registry.served_models
    one.restart_s = 0.1
    return service, gate


def ask(timeout_s: float | None, **more: Any) -> RerankTask:
    return RerankTask(query="fox", documents=("red fox",), options=RequestOptions(timeout_s=timeout_s, **more))


@simulated
async def test_request_with_enough_time_is_answered_after_the_restart() -> None:
    service, gate = patient_house()
    async with running(service):
        patient = asyncio.ensure_future(service.rerank(ask(60.0)))
        await until(lambda: service.state is State.RESTARTING)
        await asyncio.sleep(0.01)
        assert not patient.done()
        gate.set()
        outcome = await asyncio.wait_for(patient, PATIENCE_S)
    assert [each.raw_score for each in outcome.results] == [log_odds(TextPrompt(TextPrefix("fox", 1), "red fox", 2))]


@pytest.mark.parametrize("timeout_s", [None, 0.09])
@simulated
async def test_request_without_enough_time_fails_at_once(timeout_s: float | None) -> None:
    service, _ = patient_house()
    async with running(service):
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(service.rerank(ask(timeout_s)), PATIENCE_S)


@simulated
async def test_waiting_request_fails_at_its_deadline() -> None:
    service, _ = patient_house()
    async with running(service):
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(service.rerank(ask(0.3)), PATIENCE_S)
        assert service.state is State.RESTARTING


@simulated
async def test_failure_of_an_idle_engine_is_detected_and_restarted() -> None:
    service, _ = apps(FakeEngine)
    failed = asyncio.Event()

    class Mortal(FakeEngine):
        async def wait_failed(self) -> None:
            await failed.wait()
            raise EngineUnavailable("It ended.")

    [one] = service._registry.served_models
    one.engine = one.dispatcher.engine = Mortal()
    async with running(service):
        assert service.is_ready
        failed.set()
        await back(service)  # the failure may be too short to observe
        assert len((await service.rerank(ASK)).results) == 1


def test_closing_aborts_loading() -> None:
    told = threading.Event()
    one = served()
    one.on_close = told.set
    one.close()
    assert told.is_set()
