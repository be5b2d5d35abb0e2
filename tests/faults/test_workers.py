"""A model on two devices, each with a process of its own: the same scores, loud when one dies, brought back, never left behind.

The devices are the processors of this machine; nothing but their names is different from GPUs.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from shortlist.engine import workers
from shortlist.engine.native.native_engine import NativeEngine
from shortlist.errors import EngineUnavailable
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.service.runtime import Runtime
from shortlist.types import RERANK, Batch, RerankTask, WorkItem
from tests.support import apps
from tests.support.encoded import prompts
from tests.support.engines import compute
from tests.support.fixtures import ModelFactory
from tests.support.ids import ByteEncoder
from tests.support.process import Launched, is_ready, launched, wait_until
from tests.support.workers import are_there, fake, pids, visible

QUERY = "how do I read a json file in python"
DOCUMENTS = [f"document number {number} about json files and snakes" for number in range(24)]
START_S = 100.0
CALLERS = 12


@pytest.fixture(scope="module")
def folder(make_model: ModelFactory) -> Path:
    return make_model(kind="reranker")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Launched]:
    arguments = ["--reranker", str(folder), "--device", "cpu,cpu", "--dtype", "float32", "--random-weights", "--no-ui"]
    few = ["--cache-bytes", "0", "--max-batch-items", "4", "--restart-engine"]  # so that there are many batches
    few += ["--max-queue-delay-ms", "1000000000"]  # no request is refused
    with launched("shortlist", "serve", *arguments, *few, OMP_NUM_THREADS="1") as running:
        yield running


def ask(server: Launched, number: int = 0, **headers: str) -> httpx2.Response:
    asked = {"query": f"{QUERY} {number}", "documents": DOCUMENTS, "return_documents": False, "raw_scores": True}
    return httpx2.post(f"{server.url}/v1/rerank", json=asked, headers=headers, timeout=START_S)


def scores(answer: httpx2.Response) -> list[float]:
    found = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
    return [found[index] for index in range(len(DOCUMENTS))]


def num_running(server: Launched) -> int:
    """Return how many requests are inside, without this look."""
    text = httpx2.get(f"{server.url}/metrics").text
    [line] = [line for line in text.splitlines() if line.startswith("shortlist_running_requests ")]
    return int(float(line.split()[1])) - 1


async def in_this_process(folder: Path) -> list[float]:
    """Return what an engine without workers says."""
    encoder = QwenEncoder(folder / "tokenizer.json", operation=RERANK, max_model_len=2048)
    items = [WorkItem(0, index, each) for index, each in enumerate(prompts(encoder.encode_pairs(f"{QUERY} 0", DOCUMENTS)))]
    engine = NativeEngine.load(folder, operation=RERANK, max_model_len=2048, device="cpu", dtype="float32")
    try:
        batches = [Batch(RERANK, tuple(items[start : start + 4])) for start in range(0, len(items), 4)]
        return [score for batch in batches for score in await compute(engine, batch)]
    finally:
        engine.close()


def test_log_shows_the_device_of_every_worker(server: Launched) -> None:
    said = server.log()
    milestones = [
        "loaded on cpu, 0 to go",
        "on each device, 0.0",
        "testing itself",
        "self-test passed",
        "ready",
    ]
    places = [said.index(each) for each in milestones]
    assert places == sorted(places)
    assert "float32 on cpu,cpu" in said


async def test_scores_are_exactly_those_of_one_process(server: Launched, folder: Path) -> None:
    assert scores(ask(server)) == await in_this_process(folder)


def test_worker_killed_under_load_fails_all_requests_and_restarts(server: Launched) -> None:
    """Who has said that it can wait is answered once it is back."""
    before = scores(ask(server))
    victims = pids(server.process.pid)
    assert len(victims) == 2
    for pid in victims:  # so that all callers are inside when it happens, and none has been answered
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(CALLERS) as pool:
        patient = [pool.submit(ask, server, number, **{"x-request-timeout-ms": "90000"}) for number in range(4)]
        others = [pool.submit(ask, server, number) for number in range(4, 48)]
        wait_until(lambda: num_running(server) == CALLERS)
        os.kill(victims[0], signal.SIGKILL)
        os.kill(victims[1], signal.SIGCONT)
        wait_until(lambda: not is_ready(server.url))
        assert {each.result(timeout=START_S).status_code for each in patient} == {200}
        statuses = {each.result(timeout=START_S).status_code for each in others}
    assert 503 in statuses, "it was killed while they waited"
    assert statuses <= {200, 503}
    assert scores(patient[0].result()) == before
    wait_until(lambda: is_ready(server.url), START_S)
    assert not set(victims) & set(pids(server.process.pid)), "the other one is replaced, too"
    assert scores(ask(server)) == before


async def test_worker_failure_without_restart_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    visible(monkeypatch)
    engine = workers.start(fake, ["cpu", "cpu"])
    one = apps.served(engine, ByteEncoder(), operations=frozenset({RERANK}))
    async with apps.running(Runtime([one], settings=apps.settings(), metrics=one.metrics)) as runtime:
        asked = RerankTask(query="q", documents=("d",))
        assert len((await runtime.rerank(asked)).results) == 1
        os.kill(pids()[0], signal.SIGKILL)
        await asyncio.wait_for(runtime.failed.wait(), START_S)
        assert not runtime.is_alive
        with pytest.raises(EngineUnavailable):
            await runtime.rerank(asked)
    assert pids() == []


def test_sigterm_answers_running_requests_and_stops_the_workers(server: Launched) -> None:
    """The last one that uses this server."""
    left = pids(server.process.pid)
    assert len(left) == 2
    for pid in left:  # as a supervisor signals the whole group
        os.kill(pid, signal.SIGTERM)
    assert ask(server).status_code == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=START_S) == 0
    wait_until(lambda: not are_there(left))
