"""Traffic of every kind for a while, on a real process: memory, files and tasks stay where they are.

A short while in an ordinary run; `SOAK_SECONDS` says how long (`make soak`: twenty minutes).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.support.examples import examples
from tests.support.fixtures import ModelFactory
from tests.support.process import Launched, launched

SECONDS = float(os.environ.get("SOAK_SECONDS", examples(10, 60)))  # noqa: TID251 - how long a test takes is no setting of the server
WARM_UP_SHARE = 0.3
MAX_GROWTH_BYTES = 50_000_000
NUM_CALLERS = 12
WORDS = ["river", "stone", "light", "water", "paper", "music", "house", "winter", "signal", "中文", "文档", "检索"]

pytestmark = pytest.mark.timeout(SECONDS + 120)


@dataclass(frozen=True)
class Sample:
    """What the process takes at one moment."""

    rss_bytes: int
    num_files: int
    num_threads: int
    num_tasks: float

    @classmethod
    async def of(cls, server: Launched, client: httpx2.AsyncClient) -> Sample:
        proc = Path(f"/proc/{server.process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        metrics = (await client.get("/metrics")).text.splitlines()
        [tasks] = [line for line in metrics if line.startswith("shortlist_tasks ")]
        return cls(
            rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
            num_files=len(list((proc / "fd").iterdir())),
            num_threads=int(status["Threads"]),
            num_tasks=float(tasks.split()[1]),
        )


class Caller:
    """Sends one request after another, of every kind there is."""

    def __init__(self, server: Launched, seed: int) -> None:
        self.server = server
        self.draw = random.Random(seed)
        self.ends: Counter[str] = Counter()

    async def run(self, client: httpx2.AsyncClient, until_s: float) -> None:
        clock = asyncio.get_running_loop().time
        kinds = [self.rerank] * 6 + [self.repeat] * 2 + [self.hang_up] * 2 + [self.nonsense, self.late, self.unknown]
        while clock() < until_s:
            self.ends[await self.draw.choice(kinds)(client)] += 1

    def text(self, most: int) -> str:
        return " ".join(self.draw.choices(WORDS, k=self.draw.randint(1, most)))

    def body(self) -> dict[str, object]:
        return {"query": self.text(10), "documents": [self.text(60) for _ in range(self.draw.choice([1, 3, 10, 30]))]}

    async def rerank(self, client: httpx2.AsyncClient) -> str:
        return str((await client.post("/v1/rerank", json=self.body())).status_code)

    async def repeat(self, client: httpx2.AsyncClient) -> str:
        body = {"query": "the same", "documents": [f"text {number}" for number in range(20)]}
        return str((await client.post("/v1/rerank", json=body)).status_code)

    async def nonsense(self, client: httpx2.AsyncClient) -> str:
        return str((await client.post("/v1/rerank", content=self.draw.randbytes(200))).status_code)

    async def unknown(self, client: httpx2.AsyncClient) -> str:
        return str((await client.post("/v1/rerank", json={**self.body(), "model": "no-such-model"})).status_code)

    async def late(self, client: httpx2.AsyncClient) -> str:
        headers = {"X-Request-Timeout-Ms": "1"}
        return str((await client.post("/v1/rerank", json=self.body(), headers=headers)).status_code)

    async def hang_up(self, _: httpx2.AsyncClient) -> str:
        body = json.dumps(self.body()).encode()
        sent = self.draw.choice([body, body[: len(body) // 2]])
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.server.url.rsplit(":", 1)[1]))
        assert not reader.at_eof()
        writer.write(b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + sent)
        await writer.drain()
        await asyncio.sleep(self.draw.choice([0, 0.001, 0.01]))
        writer.transport.abort() if self.draw.random() < 0.5 else writer.close()
        return "hung up"


async def test_memory_files_and_tasks_stay_where_they_are(make_model: ModelFactory) -> None:
    arguments = (
        "shortlist",
        "serve",
        "--reranker",
        str(make_model()),
        "--random-weights",
        "--no-ui",
        "--cache-bytes",
        "4000000",
    )
    with launched(*arguments) as server:
        limits = httpx2.Limits(max_connections=NUM_CALLERS + 1)
        async with httpx2.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
            clock = asyncio.get_running_loop().time
            callers = [Caller(server, seed) for seed in range(NUM_CALLERS)]
            start_s = clock()
            traffic = [asyncio.create_task(caller.run(client, start_s + SECONDS)) for caller in callers]
            await asyncio.sleep(SECONDS * WARM_UP_SHARE)
            before = await Sample.of(server, client)
            await asyncio.gather(*traffic)
            await asyncio.sleep(1)
            after = await Sample.of(server, client)
        ends = sum((caller.ends for caller in callers), Counter[str]())
    growth = after.rss_bytes - before.rss_bytes
    print(f"{SECONDS:.0f} s, {ends.total()} requests {dict(ends)}: {before} -> {after}, growth {growth / 1e6:.1f} MB")
    assert {"200", "400", "404", "hung up"} <= set(ends)
    assert {"429", "504"} & set(ends), "a millisecond is never enough: refused at once, or late"
    assert set(ends) <= {"200", "400", "404", "429", "504", "hung up"}, ends
    assert growth < MAX_GROWTH_BYTES, f"{before} -> {after}"
    assert after.num_files <= before.num_files
    assert after.num_tasks <= before.num_tasks
    assert after.num_threads <= before.num_threads + 2  # a pool may not have been full yet
