"""A sick vLLM cannot drag us down: it is asked little, left alone, and its work is done elsewhere if there is an elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from shortlist.engine.vllm.calls import BURST, SHARE
from shortlist.engine.vllm.start import UpstreamAccess, connect
from shortlist.engine.vllm.vllm_engine import VllmEngine
from shortlist.errors import DeadlineExceeded, EngineError, UpstreamBusy, UpstreamError
from shortlist.service.runtime import Runtime
from shortlist.types import RERANK, RequestOptions, RerankTask
from tests.support import apps
from tests.support.engines import compute
from tests.support.ids import ByteEncoder
from tests.support.sickvllm import POISON, POISONOUS, SickVllm, log_odds, sick_vllm
from tests.support.vllm import batch_of, plan_of, prompts_of

TIMEOUT_S = 60.0
IMPATIENT_S = 0.5
"""For servers that do not answer, and from when on they do not: other servers have no time limit."""
NEVER = {"hang", "drip"}
EVERY_ILLNESS = ["500", "502", "503", "429", "reset", "hang", "drip", "half", "count", "nan", "redirect"]


@contextmanager
def engine_around(*servers: SickVllm) -> Iterator[VllmEngine]:
    engine = connect([server.url for server in servers], plan_of(Path("m")), UpstreamAccess(timeout_s=TIMEOUT_S))
    for server in servers:
        server.calls.clear()  # the probe's
    try:
        yield engine
    finally:
        engine.close()


async def scores(engine: VllmEngine, *lengths: int) -> list[float]:
    return list(await compute(engine, batch_of(prompts_of(lengths or (5, 9)))))


def right(*lengths: int) -> list[float]:
    return [log_odds([*prompt.prefix.ids.tolist(), *prompt.ids.tolist()]) for prompt in prompts_of(lengths or (5, 9))]


def become_sick(server: SickVllm, engine: VllmEngine, mood: str) -> None:
    """Make a server, the engine's first one, answer in this mood from now on."""
    server.mood, server.is_healthy = mood, False
    if mood in NEVER:
        engine._pool.servers[0]._timeout_s = IMPATIENT_S


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is polled
            await asyncio.sleep(0.01)


# -- one server, and it is sick -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mood", EVERY_ILLNESS)
async def test_sick_server_is_asked_a_few_times_and_then_left_alone(mood: str) -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        assert await scores(engine) == pytest.approx(right())
        server.calls.clear()
        become_sick(server, engine, mood)
        for _ in range(30):
            with pytest.raises(EngineError):
                await scores(engine)
        num_asked = len(server.asked)
        assert 1 <= num_asked <= 5
        for _ in range(20):
            with pytest.raises(UpstreamError, match="try again soon"):
                await scores(engine)
        assert len(server.asked) == num_asked, "who is refused does not wait for a sick server"


@pytest.mark.parametrize("mood", ["500", "reset", "half"])
async def test_server_that_is_well_again_is_asked_again(mood: str) -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        server.mood = mood
        for _ in range(5):
            with pytest.raises(EngineError):
                await scores(engine)
        await until(lambda: not engine._pool.servers[0].is_well)
        num_asked = len(server.asked)
        await asyncio.sleep(1.5)
        assert len(server.asked) == num_asked, "callers' texts are not what a sick server is tried with"
        server.mood = "well"
        await until(lambda: engine._pool.servers[0].is_well)
        assert await scores(engine) == pytest.approx(right())


@pytest.mark.parametrize("mood", ["endless", "gzip"])
async def test_answer_without_an_end_is_given_up(mood: str) -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        server.mood = mood
        with pytest.raises(UpstreamError):
            await scores(engine)
        sent = server.num_sent
        assert sent < 32 * 1024 * 1024  # what is between both ends
        server.well_after.set()


async def test_another_model_of_another_name_is_noticed_in_its_answer() -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        server.model, server.offset = "other", 3.0
        with pytest.raises(UpstreamError):
            await scores(engine)
        assert not engine._pool.servers[0].is_well
        await asyncio.sleep(2.5)
        assert not engine._pool.servers[0].is_well
        server.model, server.offset = "m", 0.0
        await until(lambda: engine._pool.servers[0].is_well)
        assert await scores(engine) == pytest.approx(right())


async def test_server_that_comes_back_with_another_model_of_the_same_name_stays_out() -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        become_sick(server, engine, "500")
        await until(lambda: not engine._pool.servers[0].is_well)
        server.mood, server.is_healthy, server.offset = "well", True, 3.0
        await asyncio.sleep(2.5)
        with pytest.raises(UpstreamBusy):
            await scores(engine)
        server.offset = 0.01  # what 16-bit numbers may differ by
        await until(lambda: engine._pool.servers[0].is_well)


async def test_server_with_a_failing_health_check_gets_no_requests() -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        server.is_healthy = False
        await until(lambda: not engine._pool.servers[0].is_well)
        with pytest.raises(UpstreamError):
            await scores(engine)
        assert not server.asked


@pytest.mark.parametrize("mood", ["400", "404", "401"])
async def test_refusal_of_a_call_is_not_sent_again(mood: str) -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        server.mood = mood
        with pytest.raises(UpstreamError) as refused:
            await scores(engine)
        assert not refused.value.is_retryable
        assert len(server.asked) == 1


async def test_redirect_is_not_followed() -> None:
    with sick_vllm("redirect") as server:
        server.mood = "well"
        with engine_around(server) as engine:
            server.mood = "redirect"
            with pytest.raises(UpstreamError):
                await scores(engine)
        assert "/elsewhere" not in server.paths


async def test_error_names_no_text_and_no_address() -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        server.mood = "500"
        with pytest.raises(UpstreamError) as error:
            await scores(engine)
        assert server.url not in error.value.message


# -- several servers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mood", EVERY_ILLNESS)
async def test_healthy_server_takes_over_from_an_unhealthy_one(mood: str) -> None:
    with sick_vllm() as sick, sick_vllm() as well, engine_around(sick, well) as engine:
        become_sick(sick, engine, mood)
        for _ in range(40):
            assert await scores(engine) == pytest.approx(right())
        assert len(sick.asked) <= 5


async def test_attempts_stay_within_a_tenth_more_than_there_are_calls() -> None:
    """Half of all calls fail, on both servers, and health says nothing of it."""
    num_calls = 300
    with sick_vllm() as one, sick_vllm() as other, engine_around(one, other) as engine:
        for number in range(num_calls):
            one.mood, other.mood = ("reset", "well") if number % 4 < 2 else ("well", "reset")
            with suppress(UpstreamError):
                await scores(engine)
        assert len(one.asked) + len(other.asked) <= num_calls * (1 + SHARE) + BURST


async def test_server_with_the_least_to_do_is_asked() -> None:
    with sick_vllm() as busy, sick_vllm() as idle, engine_around(busy, idle) as engine:
        busy.mood = "hang"
        hanging = [asyncio.ensure_future(scores(engine, 500)) for _ in range(2)]
        await until(lambda: bool(busy.asked) and sum(each.done() for each in hanging) == 1)
        before = len(idle.asked)
        for _ in range(10):
            await scores(engine)
        assert len(idle.asked) >= before + 10
        assert len(busy.asked) == 1
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_call_that_hangs_on_a_server_that_died_is_done_elsewhere() -> None:
    with sick_vllm() as dying, sick_vllm() as well, engine_around(dying, well) as engine:
        dying.mood = well.mood = "hang"
        call = asyncio.ensure_future(scores(engine))
        await until(lambda: bool(dying.asked or well.asked))
        first, second = (dying, well) if dying.asked else (well, dying)
        second.mood = "well"
        first.is_healthy = False
        assert await asyncio.wait_for(call, 10) == pytest.approx(right())


async def test_everything_that_a_server_was_doing_when_it_died_is_done_elsewhere() -> None:
    """More than any budget would pay for: it is sent once more, and never again to the one that died."""
    num_calls = 4 * int(BURST)
    with sick_vllm() as dying, sick_vllm() as well, engine_around(dying, well) as engine:
        dying.mood = "hang"
        calls = [asyncio.ensure_future(scores(engine)) for _ in range(num_calls)]
        await until(lambda: len(dying.asked) > BURST and len(dying.asked) + len(well.asked) == num_calls)
        dying.is_healthy = False
        num_moved = len(dying.asked)
        assert await asyncio.wait_for(asyncio.gather(*calls), 15) == [pytest.approx(right())] * num_calls
        assert len(dying.asked) == num_moved
        assert len(well.asked) == num_calls


async def test_large_batch_alone_is_spread_over_all_servers() -> None:
    with sick_vllm() as one, sick_vllm() as other, engine_around(one, other) as engine:
        lengths = [300] * 12
        assert await scores(engine, *lengths) == pytest.approx(right(*lengths))
        assert {len(one.asked), len(other.asked)} <= {1, 2}
        assert one.asked
        assert other.asked


# -- the prompts' fault -------------------------------------------------------------------------------------------------


async def test_uncomputable_prompt_does_not_mark_the_server_unhealthy() -> None:
    with sick_vllm("poison") as server, engine_around(server) as engine:
        prompts = prompts_of([5, 6, 7])
        prompts[1].ids[0] = POISON
        with pytest.raises(EngineError) as error:
            await compute(engine, batch_of(prompts))
        assert not isinstance(error.value, UpstreamError), "parts of the batch may be computed"
        assert engine._pool.servers[0].is_well
        assert len(await compute(engine, batch_of([prompts[0], prompts[2]]))) == 2


# -- the whole house ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def service(engine: VllmEngine) -> AsyncIterator[Runtime]:
    one = apps.served(engine, ByteEncoder(), operations=frozenset({RERANK}), cache_bytes=0)
    async with apps.running(Runtime([one], settings=apps.settings(), metrics=one.metrics)) as runtime:
        yield runtime


async def test_document_that_cannot_be_computed_fails_alone() -> None:
    with sick_vllm("poison") as server, engine_around(server) as engine:
        documents = tuple(f"document {number}{POISONOUS if number == 13 else ''}" for number in range(32))
        async with service(engine) as runtime:
            outcome = await runtime.rerank(RerankTask(query="q", documents=documents))
            assert [failed.index for failed in outcome.failed] == [13]
            assert len(outcome.results) == 31
            assert runtime.is_ready


async def test_request_to_a_sick_server_fails_without_being_multiplied() -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        async with service(engine) as runtime:
            server.mood = "500"
            task = RerankTask(query="q", documents=tuple(f"document {number}" for number in range(100)))
            with pytest.raises(UpstreamError):
                await runtime.rerank(task)
            assert len(server.calls) <= 4
            assert runtime.is_ready, "a neighbour that is sick is not our death"


async def test_call_is_ended_when_its_deadline_has_passed() -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        async with service(engine) as runtime:
            server.mood = "hang"
            started_s = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await runtime.rerank(RerankTask(query="q", documents=("d",), options=RequestOptions(timeout_s=0.2)))
            assert time.monotonic() - started_s < TIMEOUT_S / 2, "it waited for the server"
            await until(lambda: server.hung_up == 1)


async def test_call_is_ended_when_its_caller_has_gone() -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        async with service(engine) as runtime:
            server.mood = "hang"
            request = asyncio.ensure_future(runtime.rerank(RerankTask(query="q", documents=("d",))))
            await until(lambda: bool(server.asked))
            request.cancel()
            await until(lambda: server.hung_up == 1)


async def test_call_with_a_waiting_job_is_not_cancelled() -> None:
    with sick_vllm() as server, engine_around(server) as engine:
        async with service(engine) as runtime:
            server.mood = "hang"
            first = asyncio.ensure_future(runtime.rerank(RerankTask(query="q", documents=("first",))))
            second = asyncio.ensure_future(runtime.rerank(RerankTask(query="q", documents=("second",))))
            await until(lambda: sum(len(call) for call in server.asked) == 2)
            is_one_call = len(server.asked) == 1
            first.cancel()
            await asyncio.sleep(0.3)
            assert server.hung_up == (0 if is_one_call else 1)
            second.cancel()
            await until(lambda: server.hung_up == len(server.asked))
