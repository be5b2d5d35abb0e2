"""A backlog of jobs hardly delays interactive requests.

The engine is the fake one, whose speed is known, and the clock is a simulated one: only the engine takes time.
"""

from __future__ import annotations

import asyncio
import random
from itertools import count

from shortlist.errors import Overloaded
from shortlist.service.runtime import Runtime
from shortlist.types import Priority, RequestOptions, RerankTask
from tests.support.apps import running, runtime
from tests.support.fake_engine import FakeEngine
from tests.support.simulated import simulate

TOKENS_PER_S = 20_000
NUM_DOCUMENTS, WORDS = 10, 399
REQUEST_S = NUM_DOCUMENTS * (WORDS + 1) / TOKENS_PER_S
LOAD = 0.5
SECONDS = 400.0
SLOTS = 8
"""Jobs that workers ask for at once. However many wait in Redis, the server sees no more."""

TEXT = "word " * (WORDS - 1)


def task(number: int, caller: str, priority: Priority) -> RerankTask:
    documents = tuple(f"{number}.{place} {TEXT}" for place in range(NUM_DOCUMENTS))
    return RerankTask(query="q", documents=documents, options=RequestOptions(caller=caller, priority=priority))


async def work(service: Runtime, numbers: count[int]) -> None:
    """Do as a slot of a worker does, with no end of jobs."""
    while True:
        try:
            await service.rerank(task(next(numbers), "owner of jobs", Priority.BATCH))
        except Overloaded as busy:
            await asyncio.sleep(busy.retry_after_s)


async def latencies(num_slots: int) -> list[float]:
    """Return the sorted latencies of interactive requests at half load, beside so many slots of workers."""
    engine = FakeEngine(token_s=1 / TOKENS_PER_S)
    service, draw, numbers, found = runtime(engine, cache_bytes=0), random.Random(3), count(), list[float]()
    clock = asyncio.get_running_loop().time

    async def ask(caller: str) -> None:
        started_s = clock()
        await service.rerank(task(next(numbers), caller, Priority.INTERACTIVE))
        found.append(clock() - started_s)

    async with running(service):
        await ask("warm-up")
        found.clear()
        slots = [asyncio.create_task(work(service, numbers)) for _ in range(num_slots)]
        until_s = clock() + SECONDS
        asking = set()
        while clock() < until_s:
            asking.add(asyncio.create_task(ask(f"caller {draw.randrange(5)}")))
            await asyncio.sleep(draw.expovariate(LOAD / REQUEST_S))
        await asyncio.gather(*asking)
        for slot in slots:
            slot.cancel()
        await asyncio.gather(*slots, return_exceptions=True)
    return sorted(found)


def test_backlog_of_jobs_hardly_delays_interactive_requests() -> None:
    alone, beside = simulate(latencies(0)), simulate(latencies(SLOTS))
    assert len(alone) > 500
    p99 = [each[int(0.99 * len(each))] for each in (alone, beside)]
    assert p99[1] <= 1.2 * p99[0], p99


def test_batches_of_batch_priority_take_fifty_milliseconds() -> None:
    async def only_jobs() -> list[int]:
        engine = FakeEngine(token_s=1 / TOKENS_PER_S)
        service = runtime(engine, cache_bytes=0)
        async with running(service):
            await service.rerank(task(-1, "warm-up", Priority.INTERACTIVE))
            engine.batches.clear()
            slots = [asyncio.create_task(work(service, count(number * 1000))) for number in range(SLOTS)]
            await asyncio.sleep(5)
            for slot in slots:
                slot.cancel()
            await asyncio.gather(*slots, return_exceptions=True)
        return [batch.num_tokens for batch in engine.batches]

    tokens = simulate(only_jobs())
    assert max(tokens) / TOKENS_PER_S <= 0.05
    assert sum(tokens) / TOKENS_PER_S >= 0.9 * 5  # the engine does not idle
