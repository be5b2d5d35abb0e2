"""Any number of cached requests leaves the event loop responsive."""

from __future__ import annotations

import asyncio

import httpx2

from tests.support.fixtures import ModelFactory
from tests.support.process import launched

SECONDS = 3.0
DOCUMENTS = [f"document {number} " + "word " * 100 for number in range(100)]


def buckets(metrics: str) -> dict[str, float]:
    prefix = 'shortlist_event_loop_blocked_seconds_bucket{le="'
    lines = [line.removeprefix(prefix) for line in metrics.splitlines() if line.startswith(prefix)]
    return {bound: float(count) for bound, count in (line.split('"} ') for line in lines)}


async def test_remembered_requests_never_block_the_loop(make_model: ModelFactory) -> None:
    arguments = ("shortlist", "serve", "--reranker", str(make_model()), "--random-weights", "--no-ui")
    with launched(*arguments) as server:
        async with httpx2.AsyncClient(base_url=server.url, timeout=60) as client:
            body = {"query": "the same", "documents": DOCUMENTS, "return_documents": False}
            assert (await client.post("/v1/rerank", json=body)).status_code == 200
            before = buckets((await client.get("/metrics")).text)
            clock = asyncio.get_running_loop().time
            until_s = clock() + SECONDS
            num_answers = 0

            async def ask() -> None:
                nonlocal num_answers
                while clock() < until_s:
                    assert (await client.post("/v1/rerank", json=body)).status_code == 200
                    num_answers += 1

            await asyncio.gather(*(ask() for _ in range(4)))
            after = buckets((await client.get("/metrics")).text)
    looked = after["+Inf"] - before["+Inf"]
    late = looked - (after["0.05"] - before["0.05"])
    assert num_answers > 20
    assert looked > 10
    assert late == 0, f"{late:.0f} of {looked:.0f} looks found the loop blocked for more than 50 ms"
