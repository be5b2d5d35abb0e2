"""A model that cannot be trusted does not serve: the self-test and the doctor as real processes."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from shortlist import Client
from tests.support.fixtures import ModelFactory
from tests.support.process import finished, launched


@pytest.fixture(scope="module")
def reranker(make_model: ModelFactory) -> Path:
    """A reranker that computes well and means nothing."""
    return make_model(kind="reranker")


def test_random_reranker_is_refused_with_one_line(reranker: Path) -> None:
    done = finished("serve", "--reranker", str(reranker), "--port", "0", "--no-ui")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "ready" not in done.stderr
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.stderr.splitlines()[-1] == error
    for words in (reranker.name, "self-test", "meaning", "wrong prompt", "never trained", "--self-test warn"):
        assert words in error


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--random-weights"], "passed"),
        pytest.param(["--self-test", "warn"], "failed", marks=pytest.mark.full),
        pytest.param(["--self-test", "off"], "", marks=pytest.mark.full),
    ],
)
def test_reranker_with_random_weights_needs_self_test_warn(reranker: Path, flags: list[str], said: str) -> None:
    arguments = ["--reranker", str(reranker), "--no-ui", *flags]
    with launched("shortlist", "serve", *arguments) as server, Client(server.url) as client:
        assert len(client.rerank("a", ["b", "c"]).results) == 2
        assert (f"self-test {said}" in server.log()) is bool(said)
        assert ("WARNING" in server.log()) is ("warn" in flags)
        assert ("random_weights" in server.log()) is ("--random-weights" in flags)


def test_demo_model_is_self_tested_once_before_ready() -> None:
    with launched("shortlist", "serve", "demo", "--no-ui") as server:
        assert httpx2.get(f"{server.url}/ready").status_code == 200
        log = server.log()
    assert log.count("self-test passed") == 1
    assert log.index("self-test passed") < log.index("ready ")
    assert "WARNING" not in log


# -- the doctor ---------------------------------------------------------------------------------------------------------


@pytest.mark.full
def test_doctor_finds_the_demo_well() -> None:
    done = finished("doctor", "demo")
    assert done.returncode == 0, done.stderr
    for words in ("bi-encoder", "max_model_len", "fingerprint", "meaning", "passed"):
        assert words in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.full
def test_doctor_shows_the_prompt_and_fails_a_random_reranker(reranker: Path) -> None:
    done = finished("doctor", str(reranker), "--reranker", "--dtype", "float32", "--max-model-len", "512")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for words in ("<|im_start|>system", "<Document>: Blot", "151668 271", "'\\n\\n'", "float32", "512 tokens", "computed, not"):
        assert words in done.stdout
    assert "failed its self-test (meaning)" in done.stdout


def test_doctor_takes_the_word_that_weights_are_random(reranker: Path) -> None:
    done = finished("doctor", str(reranker), "--reranker", "--random-weights")
    assert done.returncode == 0, done.stderr
    assert "skipped" in done.stdout


@pytest.mark.parametrize("arguments", [["./nowhere"], ["demo", "--device", "cuda:77"]])
def test_doctor_reports_an_unloadable_model_in_one_line(arguments: list[str]) -> None:
    done = finished("doctor", *arguments)
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


def test_doctor_needs_a_task_if_files_do_not_state_it(reranker: Path) -> None:
    done = finished("doctor", str(reranker))
    assert done.returncode == 3
    assert "--reranker" in done.stderr


def test_doctor_without_a_model_is_wrong_usage() -> None:
    assert finished("doctor").returncode == 2
