"""Tests Shortlist's own contenders, in process and over HTTP: their scores equal those of the service."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.engines import builtin
from benchmarks.engines.process import ContenderProcess, Spec
from benchmarks.engines.protocol import Ready
from benchmarks.engines.saturation import closed_loop
from shortlist.bench.texts import LoadRequest
from shortlist.config import Settings
from shortlist.errors import UpstreamError
from shortlist.service.build import build_runtime
from shortlist.types import RerankTask
from tests.support.fixtures import ModelFactory

REQUEST = LoadRequest("how is bread baked", ("bake bread at 220 C", "csv", "怎样烤面包" * 30))
READY_S = 90.0


@contextmanager
def running(module: str, *arguments: str) -> Iterator[tuple[ContenderProcess, Ready]]:
    contender = ContenderProcess(Spec("ours", (sys.executable, "-m", f"benchmarks.engines.{module}")), arguments)
    try:
        yield contender, contender.wait_ready(READY_S)
    finally:
        contender.close()


@pytest.fixture(scope="module")
def folder(make_model: ModelFactory) -> Path:
    return make_model()


@pytest.fixture
async def expected(folder: Path) -> list[float]:
    flags = {"reranker": (str(folder),), "self_test": "off", "dtype": "float32"}
    runtime = build_runtime(Settings.load(flags, environ={}), notify=lambda _: None)
    await runtime.start()
    try:
        outcome = await runtime.rerank(RerankTask(query=REQUEST.query, documents=REQUEST.documents))
    finally:
        await runtime.close()
    return [ranked.score for ranked in sorted(outcome.results, key=lambda ranked: ranked.index)]


@pytest.mark.parametrize("module", ["builtin", pytest.param("http", marks=pytest.mark.full)])
def test_scores_equal_those_of_the_service(folder: Path, expected: list[float], module: str) -> None:
    limits = ("--device", "cpu", "--max-model-len", "20000")
    with running(module, str(folder), "--dtype", "float32", "--threads", "1", *limits) as (contender, ready):
        assert ready.dtype == "float32"
        assert ready.version.startswith("shortlist")
        for _ in range(2):
            assert contender.ask(REQUEST, READY_S)[0] == pytest.approx(expected, abs=1e-6)
        assert ready.at_once > 1
        assert len(contender.stream([REQUEST] * 5, closed_loop(3), READY_S)) == 5


def test_batch_fits_the_longest_prompt_without_a_given_size() -> None:
    assert builtin.derived_settings({"max_model_len": "20000"}) == {"max_batch_tokens": 20_000, "device": "cpu"}
    assert builtin.derived_settings({"max_model_len": "20000", "max_batch_tokens": "30000"}) == {"device": "cpu"}
    assert builtin.derived_settings({"max_model_len": None, "device": "cuda"}) == {"device": "cuda"}


def test_flags_are_the_settings_of_the_server() -> None:
    given = vars(
        builtin._parser().parse_args(["folder", "--max-batch-tokens", "9000", "--no-random-weights", "--dtype", "float32"])
    )
    assert (given["model"], given["max_batch_tokens"], given["random_weights"], given["dtype"]) == (
        "folder",
        "9000",
        False,
        "float32",
    )
    assert given["max_model_len"] is None
    assert not {"cache_bytes", "self_test", "port", "models"} & given.keys()


def test_unloadable_model_is_a_one_line_error() -> None:
    with (
        pytest.raises(UpstreamError, match=r"ours reported an error: .*/nowhere does not exist"),
        running("builtin", "/nowhere"),
    ):
        pass
