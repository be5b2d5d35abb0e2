"""A vLLM of ours that dies refuses for a while, and says that it is well: no document is lost by that, and none is blamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from shortlist.engine.vllm.start import UpstreamAccess, connect
from shortlist.engine.vllm.vllm_engine import DEATH_S, VllmEngine
from shortlist.errors import EngineUnavailable, UpstreamError
from shortlist.service.runtime import Runtime
from shortlist.types import RERANK, RequestOptions, RerankOutcome, RerankTask
from tests.support import apps
from tests.support.engines import compute
from tests.support.ids import ByteEncoder
from tests.support.sickvllm import SickVllm, sick_vllm
from tests.support.vllm import batch_of, plan_of, prompts_of

STEP_S = 0.02
AFTERLIFE_S = 0.3
"""How long the process is there after it has stopped listening."""


@dataclass
class Child:
    """The process that a stand-in would be."""

    patient: SickVllm
    is_running: bool = True

    def close(self) -> None:
        self.is_running = False

    async def end(self) -> None:
        """Do so some time after the stand-in listens no more."""
        await asyncio.to_thread(self.patient.is_gone.wait)
        await asyncio.sleep(AFTERLIFE_S)
        self.is_running = False


def engine_around(server: SickVllm, child: Child | None = None) -> VllmEngine:
    engine = connect([server.url], plan_of(Path("m")), UpstreamAccess(timeout_s=5.0))
    engine._child = child
    engine._info = replace(engine.info, fingerprint="the same after a restart")
    server.calls.clear()
    return engine


@contextmanager
def alone(server: SickVllm) -> Iterator[VllmEngine]:
    engine = engine_around(server)
    yield engine
    engine.close()


@asynccontextmanager
async def service(dying: SickVllm, well: SickVllm, *, max_batch_items: int) -> AsyncIterator[Runtime]:
    """Serve by a child that will die, and by another one after it."""
    child = Child(dying)
    engine, tasks = engine_around(dying, child), frozenset({RERANK})
    one = apps.served(engine, ByteEncoder(), operations=tasks, cache_bytes=0, max_batch_items=max_batch_items)
    one = replace(one, load_again=lambda: (engine_around(well, Child(well)), ByteEncoder()), restarts=True, restart_s=0.1)
    async with apps.running(Runtime([one], settings=apps.settings(), metrics=one.metrics)) as runtime:
        ending = asyncio.ensure_future(child.end())
        yield runtime
        await ending


async def ask(runtime: Runtime, documents: tuple[str, ...], timeout_s: float | None) -> RerankOutcome | EngineUnavailable:
    try:
        return await runtime.rerank(RerankTask(query="q", documents=documents, options=RequestOptions(timeout_s=timeout_s)))
    except EngineUnavailable as error:
        return error


@pytest.mark.parametrize("dying_s", [0.0, 0.1, 3 * DEATH_S])
@pytest.mark.parametrize(("max_batch_items", "num_documents"), [(1, 2), (2, 3), (16, 24)])
async def test_waiting_requests_get_complete_answers_after_a_restart(
    max_batch_items: int, num_documents: int, dying_s: float
) -> None:
    with sick_vllm(step_s=STEP_S, dies_at=5, dying_s=dying_s) as dying, sick_vllm() as well:
        async with service(dying, well, max_batch_items=max_batch_items) as runtime:
            asked = [tuple(f"{number} {place}" for place in range(num_documents)) for number in range(12)]
            patient = [asyncio.ensure_future(ask(runtime, documents, 60.0)) for documents in asked[::2]]
            others = [asyncio.ensure_future(ask(runtime, documents, None)) for documents in asked[1::2]]
            kept = await asyncio.wait_for(asyncio.gather(*patient), 30)
            told = await asyncio.wait_for(asyncio.gather(*others), 30)
    whole = [answer for answer in told if isinstance(answer, RerankOutcome)]
    assert len(whole) < len(told), "it died while they waited"
    for answer in (*kept, *whole):
        assert isinstance(answer, RerankOutcome)
        assert (len(answer.results), len(answer.failed)) == (num_documents, 0)


async def test_batches_before_a_refusal_do_not_count_as_healthy() -> None:
    with sick_vllm() as server, alone(server) as engine:
        await compute(engine, batch_of(prompts_of([5])))
        server.mood = "500"
        with pytest.raises(UpstreamError):
            await compute(engine, batch_of(prompts_of([5])))


async def test_many_refusals_at_once_are_one_doubt() -> None:
    with sick_vllm(step_s=0.1) as server, alone(server) as engine:
        server.mood = "500"
        calls = [compute(engine, batch_of(prompts_of([length]))) for length in range(5, 25)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, UpstreamError) for outcome in outcomes)
        assert len(server.calls) - len(server.asked) == 1  # the probe
