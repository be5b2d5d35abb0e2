"""The engine around a fleet: what it is, what it cannot do, how it notices that its child is gone, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shortlist.engine.vllm import vllm_engine as engine_module
from shortlist.engine.vllm.start import BATCHES_PER_SERVER, UpstreamAccess, connect
from shortlist.engine.vllm.vllm_engine import VllmEngine
from shortlist.errors import EngineError, EngineUnavailable, UpstreamError
from shortlist.types import EMBED, RERANK
from tests.support.engines import compute, explain
from tests.support.sickvllm import SickVllm, log_odds, sick_vllm
from tests.support.vllm import batch_of, plan_of, prompts_of

PLAN = plan_of(Path("m"))


@dataclass
class VllmProcess:
    """A process that is there until it is not."""

    is_running: bool = True
    closed: list[bool] = field(default_factory=list)

    def close(self) -> None:
        self.closed.append(True)
        self.is_running = False


@pytest.fixture
def server() -> Iterator[SickVllm]:
    with sick_vllm() as running:
        yield running


@pytest.fixture
def engine(server: SickVllm) -> Iterator[VllmEngine]:
    connected = connect([server.url], PLAN, UpstreamAccess(timeout_s=60.0))
    server.calls.clear()
    yield connected
    connected.close()


@pytest.fixture
def child(engine: VllmEngine) -> VllmProcess:
    """The engine's server is a child of ours from now on."""
    one = VllmProcess()
    engine._child = one
    return one


def test_info_has_model_and_version(engine: VllmEngine) -> None:
    info = engine.info
    assert info.operations == {RERANK}
    assert info.max_model_len == 2048
    assert info.max_concurrent_batches == BATCHES_PER_SERVER
    assert info.ends_cancelled


def test_shorter_of_requested_and_served_max_model_len_applies(server: SickVllm) -> None:
    for asked, expected in ((500, 500), (9000, 2048)):
        engine = connect([server.url], plan_of(Path("m"), max_model_len=asked), UpstreamAccess(timeout_s=60.0))
        assert engine.info.max_model_len == expected
        assert engine.info.model_limit == 2048
        engine.close()


def test_two_engines_around_servers_of_unknown_bytes_share_no_scores(server: SickVllm) -> None:
    engines = [connect([server.url], PLAN, UpstreamAccess(timeout_s=60.0)) for _ in range(2)]
    assert len({each.info.fingerprint for each in engines}) == 2
    for each in engines:
        each.close()


async def test_batch_is_one_call_with_values_in_order(engine: VllmEngine, server: SickVllm) -> None:
    prompts = prompts_of([100 + number for number in range(300)])
    found = await compute(engine, batch_of(prompts))
    assert found == pytest.approx([log_odds([*each.prefix.ids.tolist(), *each.ids.tolist()]) for each in prompts])
    assert len(server.calls) == 1


async def test_explained_is_the_one_number_there_is(engine: VllmEngine) -> None:
    batch = batch_of(prompts_of([5, 6]))
    assert await explain(engine, batch) == [{"logit": score} for score in await compute(engine, batch)]


async def test_unsupported_tasks_are_not_probed(engine: VllmEngine, server: SickVllm) -> None:
    with pytest.raises(EngineError, match="does not embed"):
        await compute(engine, batch_of(prompts_of([5]), EMBED))
    assert not server.calls


async def test_failure_of_one_call_ends_the_others(server: SickVllm) -> None:
    with sick_vllm() as other:
        engine = connect([server.url, other.url], PLAN, UpstreamAccess(timeout_s=60.0))
        server.mood, other.mood = "400", "hang"
        with pytest.raises(UpstreamError):
            await compute(engine, batch_of(prompts_of([500] * 20)))
        assert [each.num_tokens for each in engine._pool.servers] == [0, 0]
        engine.close()


async def test_closed_engine_is_gone_and_takes_its_child_along(engine: VllmEngine, child: VllmProcess) -> None:
    engine.close()
    engine.close()
    assert child.closed
    with pytest.raises(EngineUnavailable):
        await compute(engine, batch_of(prompts_of([5])))
    await asyncio.wait_for(engine.wait_failed(), 5)


# -- a child ------------------------------------------------------------------------------------------------------------


async def test_call_to_an_ended_child_raises_engine_unavailable(
    engine: VllmEngine, child: VllmProcess, server: SickVllm
) -> None:
    server.mood, child.is_running = "reset", False
    with pytest.raises(EngineUnavailable, match="ended"):
        await compute(engine, batch_of(prompts_of([5])))


async def test_call_to_a_child_that_is_dying_waits_to_see_it(
    engine: VllmEngine, child: VllmProcess, server: SickVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "DEATH_S", 30.0)
    server.mood = "reset"
    asyncio.get_running_loop().call_later(0.2, setattr, child, "is_running", False)
    with pytest.raises(EngineUnavailable):
        await compute(engine, batch_of(prompts_of([5])))


async def test_child_that_is_sick_and_alive_is_an_upstream_like_any_other(
    engine: VllmEngine, child: VllmProcess, server: SickVllm
) -> None:
    server.mood = "reset"
    with pytest.raises(UpstreamError):
        await compute(engine, batch_of(prompts_of([5])))


async def test_exit_of_an_idle_process_is_detected(engine: VllmEngine, child: VllmProcess) -> None:
    watching = asyncio.ensure_future(engine.wait_failed())
    await asyncio.sleep(0.15)
    assert not watching.done()
    child.is_running = False
    with pytest.raises(EngineUnavailable, match="ended"):
        await asyncio.wait_for(watching, 5)


async def test_child_that_hangs_is_not_waited_for_for_ever(
    engine: VllmEngine, child: VllmProcess, server: SickVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "SILENCE_TIMEOUT_S", 0.3)
    server.is_healthy = False
    with pytest.raises(EngineUnavailable, match="does not answer"):
        await asyncio.wait_for(engine.wait_failed(), 20)
    assert child.is_running


async def test_servers_of_others_are_never_gone(engine: VllmEngine, server: SickVllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "SILENCE_TIMEOUT_S", 0.0)
    server.is_healthy = False
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.wait_failed(), 3)
