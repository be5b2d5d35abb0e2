"""Ten times as much as can be done: what is admitted is as fast as ever, the rest is refused at once, and nothing breaks.

Open loop: requests come when they come, whatever becomes of those before. The engine is the fake one, whose speed is known, and
the clock is a simulated one: only the engine takes time. What a whole server keeps of its speed is `benchmarks/overload.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shortlist.errors import DeadlineExceeded, Overloaded
from shortlist.service.runtime import Runtime
from shortlist.types import RequestOptions, RerankTask
from tests.support.apps import running, runtime
from tests.support.fake_engine import FakeEngine
from tests.support.simulated import simulate

TOKENS_PER_REQUEST = 2 + 4 * (3 + 1)  # the query, and four documents of three words with their ends
CAPACITY = 150.0  # requests a second
SECONDS = 5.0
TIMEOUT_S = 0.5


@dataclass
class Tally:
    """What became of the requests of one run."""

    ends: Counter[str] = field(default_factory=Counter)
    retries_s: list[float] = field(default_factory=list)

    async def send(self, service: Runtime, number: int, caller: str) -> None:
        words = tuple(f"document {number} {place}" for place in range(4))
        task = RerankTask(query=f"query {number}", documents=words, options=RequestOptions(caller=caller, timeout_s=TIMEOUT_S))
        try:
            outcome = await service.rerank(task)
        except Overloaded as refusal:
            self.ends["refused"] += 1
            self.retries_s.append(refusal.retry_after_s)
        except DeadlineExceeded:
            self.ends["late"] += 1
        else:
            assert len(outcome.results) == 4
            self.ends["answered"] += 1


@asynccontextmanager
async def warmed_up() -> AsyncIterator[Runtime]:
    """Run a new server that knows its engine's speed."""
    service = runtime(FakeEngine(token_s=1 / (CAPACITY * TOKENS_PER_REQUEST)), max_batch_tokens=200, max_model_len=200)
    async with running(service):
        for number in range(20):
            await Tally().send(service, -1 - number, "warm-up")
        yield service


async def offer(load: float, *, callers: int = 5) -> Tally:
    """Offer this many times the capacity, at moments drawn at random, to a new server that has warmed up."""
    draw, tally = random.Random(round(load * 100)), Tally()
    async with warmed_up() as service:
        clock = asyncio.get_running_loop().time
        next_s = until_s = clock()
        until_s += SECONDS
        number = 0
        async with asyncio.TaskGroup() as requests:
            while next_s < until_s:
                await asyncio.sleep(max(0.0, next_s - clock()))
                requests.create_task(tally.send(service, number, f"caller {number % callers}"))
                next_s += draw.expovariate(load * CAPACITY)
                number += 1
        assert tally.ends.total() == number
        assert service.is_ready
        assert service._registry.served_models[0].admission.load.num_requests == 0
    return tally


def test_ten_times_the_load_keeps_the_goodput() -> None:
    goodput = {load: simulate(offer(load)).ends["answered"] for load in (0.8, 1.0, 2.0, 10.0)}
    assert goodput[10.0] >= 0.9 * max(goodput.values()), goodput


def test_refused_requests_get_retry_after_and_few_others_miss_deadlines() -> None:
    tally = simulate(offer(5.0))
    assert tally.ends["refused"] > tally.ends["answered"]
    assert all(0 < retry_s < 10 for retry_s in tally.retries_s)
    assert tally.ends["late"] <= 0.05 * tally.ends["answered"], tally.ends


def test_light_caller_is_served_beside_a_flood() -> None:
    flood, light = simulate(beside_a_flood())
    assert flood.ends["refused"] > 0
    assert light.ends == {"answered": 20}


async def beside_a_flood() -> tuple[Tally, Tally]:
    """Send four times the capacity in one caller's name, and a thirtieth as much in another's."""
    flood, light = Tally(), Tally()
    async with warmed_up() as service, asyncio.TaskGroup() as requests:
        for number in range(600):
            requests.create_task(flood.send(service, number, "flood"))
            if number % 30 == 0:
                requests.create_task(light.send(service, 10_000 + number, "light"))
            await asyncio.sleep(1 / (4 * CAPACITY))
    return flood, light
