"""Tests the blocking server: the service's scores, one thread per connection, no batches across requests."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from benchmarks import blocking
from shortlist.bench import run
from shortlist.bench.outputs import Outputs
from shortlist.bench.plan import Level, LoadPlan
from shortlist.bench.target import targets
from shortlist.config import Settings
from shortlist.engine.native.runner import Runner
from shortlist.service.build import build_runtime
from shortlist.types import Operation, Prompt, RerankTask
from tests.support.fixtures import ModelFactory
from tests.support.process import launched

pytestmark = pytest.mark.full  # it starts a server for each of its engines

QUERY = "how is bread baked"
DOCUMENTS = ("bake bread at 220 C", "csv", "怎样烤面包" * 30)


@pytest.fixture(scope="module")
def folder(make_model: ModelFactory) -> Path:
    return make_model()


@pytest.fixture(
    scope="module",
    params=blocking.ENGINES,
)
def url(folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    with launched("benchmarks.blocking", str(folder), "--dtype", "float32", "--engine", request.param) as server:
        yield server.url


def ask(url: str, path: str = "/v1/rerank", documents: Sequence[str] = DOCUMENTS) -> dict[int, float]:
    body = json.dumps({"query": QUERY, "documents": documents}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}{path}", body)) as answer:
        results = json.loads(answer.read())["results"]
    assert [each["relevance_score"] for each in results] == sorted((each["relevance_score"] for each in results), reverse=True)
    return {each["index"]: each["relevance_score"] for each in results}


async def test_scores_equal_those_of_the_service(folder: Path, url: str) -> None:
    flags = {"reranker": (str(folder),), "self_test": "off", "dtype": "float32"}
    runtime = build_runtime(Settings.load(flags, environ={}), notify=lambda _: None)
    await runtime.start()
    try:
        outcome = await runtime.rerank(RerankTask(query=QUERY, documents=DOCUMENTS))
    finally:
        await runtime.close()
    expected = {ranked.index: ranked.score for ranked in outcome.results}
    assert ask(url) == pytest.approx(expected, abs=1e-5)


def test_other_paths_answer_404(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(url, "/v1/embeddings")
    with urllib.request.urlopen(f"{url}/ready") as answer:
        assert answer.status == 200


def test_load_benchmark_runs_against_it(url: str) -> None:
    plan = LoadPlan(
        targets=targets([url]), levels=[Level.of_users(4)], duration_s=0.5, warm_up_s=0.0, num_words=10, num_checked=2
    )
    assert run.run(plan, Outputs()) == run.EXIT_CLEAN


def scorers(monkeypatch: pytest.MonkeyPatch, folder: Path, *, serial: bool) -> tuple[int, list[int], set[int]]:
    """Score on four threads; return the largest number of concurrent computations, the batch sizes, and the thread ids."""
    sizes: list[int] = []
    threads: set[int] = set()
    num_running = max_running = 0
    lock, barrier = threading.Lock(), threading.Barrier(4)
    original_run = Runner.run

    def run(self: Runner, operation: Operation, prompts: Sequence[Prompt]) -> object:
        nonlocal num_running, max_running
        with lock:
            num_running += 1
            max_running = max(max_running, num_running)
            sizes.append(len(prompts))
            threads.add(threading.get_ident())
        if not serial:
            barrier.wait(30)  # fails unless all four threads compute at once
        try:
            return original_run(self, operation, prompts)
        finally:
            with lock:
                num_running -= 1

    monkeypatch.setattr(Runner, "run", run)
    score = blocking.native(folder, "float32", threading.Lock() if serial else nullcontext())
    callers = [threading.Thread(target=score, args=(QUERY, DOCUMENTS)) for _ in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(60)
    return max_running, sizes, threads


def test_requests_compute_concurrently_without_shared_batches(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    max_running, sizes, threads = scorers(monkeypatch, folder, serial=False)
    assert (max_running, sizes, len(threads)) == (4, [3, 3, 3, 3], 4)
    assert threading.get_ident() not in threads


def test_serial_computes_one_request_at_a_time(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    max_running, sizes, _ = scorers(monkeypatch, folder, serial=True)
    assert (max_running, sizes) == (1, [3, 3, 3, 3])
