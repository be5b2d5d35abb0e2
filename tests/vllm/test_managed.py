"""A vLLM of our own: started with the server, loud when it dies, brought back, and never left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import pytest

from tests.support import qwen
from tests.support.official import Official
from tests.support.process import Lateness, Launched, start, wait_until
from tests.support.vllm import EXECUTABLE, SMALL, folder_of, groups_of, members, processes

START_S = 500.0
"""Two that start one after the other, on a machine that others keep busy."""

LOOK_S = 0.2
"""How often it is looked at while it starts: that needs the processor for itself."""

CLIENT = httpx2.Client(timeout=START_S, trust_env=False)
"""Making one costs more than asking."""

TOLD_S = 2.0
"""Twice the second that is promised: the machine also looks for processes, and ends some."""

TURNS = 10
"""Attempts until the exit is visible; takes long only on a busy processor."""

QUERY = "how do I read a json file in python"
DOCUMENTS = [f"document number {number} about json files " * 12 for number in range(300)]


@contextmanager
def serving(*more: str) -> Iterator[Launched]:
    """Run the server around a vLLM of its own until it is ready."""
    arguments = ["--reranker", str(folder_of("reranker")), "--engine", "vllm", "--vllm-executable", str(EXECUTABLE)]
    quick = ["--random-weights", "--enforce-eager", "--no-ui", "--max-model-len", "2048", "--cache-bytes", "0"]
    quick += ["--max-queue-delay-ms", "1000000000"]  # no request is refused
    with start("shortlist", "serve", *arguments, *quick, *more, **SMALL) as server:
        wait_until(lambda: server.process.poll() is not None or is_ready(server), START_S, every_s=LOOK_S)
        assert server.process.poll() is None, server.log()
        yield server


def is_ready(server: Launched) -> bool:
    try:
        return CLIENT.get(f"{server.url}/ready", timeout=5).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


@dataclass(frozen=True)
class Answer:
    status: int
    took_s: float
    scores: dict[int, float]


def ask(server: Launched, number: int, *, timeout_ms: int | None = None) -> Answer:
    asked = {"query": f"{QUERY} {number}", "documents": DOCUMENTS, "return_documents": False, "raw_scores": True}
    headers = {} if timeout_ms is None else {"x-request-timeout-ms": str(timeout_ms)}
    started_s = time.monotonic()
    response = httpx2.post(f"{server.url}/v1/rerank", json=asked, headers=headers, timeout=START_S)
    results = response.json().get("results", [])
    scores = {result["index"]: result["relevance_score"] for result in results}
    return Answer(response.status_code, time.monotonic() - started_s, scores)


def num_inside(server: Launched) -> int:
    """Return how many requests are inside, but for this question."""
    lines = CLIENT.get(f"{server.url}/metrics").text.splitlines()
    [line] = [line for line in lines if line.startswith("shortlist_running_requests ")]
    return int(float(line.split()[1])) - 1


def group_of(server: Launched, kind: qwen.Kind = "reranker") -> int:
    """Return the process group that the vLLM of a model is in."""
    assert server.process.poll() is None
    [group] = groups_of(server.process.pid, str(folder_of(kind)))
    return group


def victim(server: Launched, name: str) -> int:
    group = group_of(server)
    if name == "supervisor":
        return group
    [pid, *_] = [pid for pid in processes(VICTIMS[name]) if pid in members(group)]
    return pid


VICTIMS = {"server": "vllm serve", "engine": "VLLM::EngineCore", "worker": "VLLM::Worker"}


@pytest.fixture(scope="module")
def server() -> Iterator[Launched]:
    """A reranker and an embedder, each with a vLLM of its own."""
    with serving("--embedder", str(folder_of("embedder"))) as running:
        yield running


def test_loading_progress_is_logged(server: Launched) -> None:
    said = server.log()
    milestones = ["vLLM 0.32.0+cpu", "starts its engine", "loads the weights", "vLLM answers", "testing itself", "ready"]
    places = [said.index(each) for each in milestones]
    assert places == sorted(places)
    assert "bfloat16 on cpu" in said


def test_scores_are_the_official_ones(server: Launched) -> None:
    documents = ["bake bread at 220 C", "open the file and call json.load", "蛇很大"]
    asked = {"query": QUERY, "documents": documents, "raw_scores": True}
    results = httpx2.post(f"{server.url}/v1/rerank", json=asked, timeout=60).json()["results"]
    found = {result["index"]: result["relevance_score"] for result in results}
    assert [found[index] for index in range(3)] == pytest.approx(
        Official(folder_of("reranker")).log_odds(QUERY, documents), abs=0.15
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param("server", marks=pytest.mark.full), "worker", pytest.param("supervisor", marks=pytest.mark.full)],
)
def test_killed_under_load_it_loses_nothing_that_can_be_in_time(server: Launched, name: str) -> None:
    """Who waits without a deadline is told at once; who has said that it can wait is answered once vLLM is back."""
    group = group_of(server)
    assert ask(server, 12).status == 200  # so that its speed is known, by which the patient are let in
    with ThreadPoolExecutor(12) as pool, Lateness() as lateness:
        patient = [pool.submit(ask, server, number, timeout_ms=240_000) for number in range(6)]
        others = [pool.submit(ask, server, number) for number in range(6, 12)]
        wait_until(lambda: sum(each.done() for each in (*patient, *others)) + num_inside(server) >= 12, 60)
        pid = victim(server, name)
        killed_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_ready(server), 10)
        until_known_s = time.monotonic() - killed_s
        late = [each.result(timeout=20) for each in others]
        until_told_s, lateness_s = time.monotonic() - killed_s, lateness.longest_s
        assert {answer.status for answer in late} <= {200, 503}, [answer.status for answer in late]
        assert 503 in {answer.status for answer in late}, "it was killed while they waited"
        assert not any(each.done() and each.result().status != 200 for each in patient)
        kept = [each.result(timeout=START_S) for each in patient]
    assert [answer.status for answer in kept] == [200] * 6
    assert all(len(answer.scores) == len(DOCUMENTS) for answer in kept)
    if name != "worker":  # whose end vLLM's own server finds out first
        most_s = TOLD_S + TURNS * lateness_s
        assert until_known_s < most_s
        assert until_told_s < most_s
    wait_until(lambda: is_ready(server), START_S, every_s=LOOK_S)
    assert group_of(server) != group
    wait_until(lambda: not members(group), every_s=LOOK_S)
    assert ask(server, 0).scores == pytest.approx(kept[0].scores, abs=0.1)


@pytest.mark.full
def test_death_of_one_models_vllm_is_not_that_of_the_others(server: Launched) -> None:
    vectors = embed(server)
    assert [len(vector) for vector in vectors] == [64, 64]
    group, its_group = group_of(server), group_of(server, "embedder")
    [pid, *_] = [pid for pid in processes(VICTIMS["server"]) if pid in members(its_group)]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_ready(server))
    wait_until(lambda: is_ready(server), START_S, every_s=LOOK_S)
    assert group_of(server) == group, "the reranker's goes on"
    assert group_of(server, "embedder") != its_group
    for before, after in zip(vectors, embed(server), strict=True):
        assert after == pytest.approx(before, abs=1e-3)


def test_sigterm_stops_vllm(server: Launched) -> None:
    """The last one that uses this server."""
    groups = [group_of(server), group_of(server, "embedder")]
    with ThreadPoolExecutor(1) as pool:
        answer: Future[Answer] = pool.submit(ask, server, 99)
        wait_until(lambda: num_inside(server) == 1, 60)
        server.process.send_signal(signal.SIGTERM)
        assert answer.result(timeout=60).status == 200
    assert server.process.wait(timeout=30) == 0
    assert not any(members(group) for group in groups)


def embed(server: Launched) -> list[list[float]]:
    asked = {"input": ["a text", "蛇很大"], "model": folder_of("embedder").name}
    data = httpx2.post(f"{server.url}/v1/embeddings", json=asked, timeout=60).json()["data"]
    return [row["embedding"] for row in data]


def test_killed_it_leaves_nothing_behind() -> None:
    with serving() as server:
        group = group_of(server)
        assert len(members(group)) >= 3
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not members(group), 15, every_s=LOOK_S)
