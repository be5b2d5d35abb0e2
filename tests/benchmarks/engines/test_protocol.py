"""Tests the line protocol of Shortlist's contenders: one answer line per request, also with library output and errors."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, threading, time
from contextlib import contextmanager
from benchmarks.engines.protocol import Ready, serve_lines, use_threads
from shortlist.errors import ModelRefused, UpstreamError

def answer(request):
    print("a library prints")
    os.system("echo a program prints")
    if request.query == "fail":
        raise UpstreamError("not this one", is_retryable=False)
    if request.query == "together":
        together.wait(20)
    if request.query == "slow":
        time.sleep(0.3)
    return [len(document) / 10 for document in request.documents]

together = threading.Barrier(3)

@contextmanager
def opened():
    print("loading")
    if "refuse" in sys.argv:
        raise ModelRefused("not a model")
    yield Ready(name="a", version="b", dtype="c", at_once=3 if "many" in sys.argv else 1), answer
    print("closed", file=sys.stderr)

use_threads(3 if "threads" in sys.argv else None)
if "threads" in sys.argv:
    os.system("echo $OMP_NUM_THREADS $RAYON_NUM_THREADS >&2")
sys.exit(serve_lines(opened()))
"""


def run(*arguments: str, requests: list[dict[str, object]] | None = None) -> tuple[int, list[object], str]:
    lines = "".join(f"{json.dumps(request)}\n" for request in requests or [])
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, check=False, input=lines, capture_output=True, text=True, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture(autouse=True)
def _our_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "src")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_stdout_has_only_answers_and_other_output_is_in_the_log() -> None:
    code, answers, log = run(requests=[{"query": "q", "documents": ["a", "bbb", "中文"]}, {"query": "q", "documents": ["dd"]}])
    ready = {"ready": True, "name": "a", "version": "b", "dtype": "c", "at_once": 1}
    assert answers == [ready, {"scores": [0.1, 0.3, 0.2]}, {"scores": [0.2]}]
    assert (code, log.count("a library prints"), log.count("a program prints"), log.count("closed")) == (0, 2, 2, 1)


def test_failed_request_does_not_affect_the_next() -> None:
    _, answers, _ = run(requests=[{"query": "fail", "documents": ["a"]}, {"query": "q", "documents": ["a"]}])
    assert answers[1:] == [{"error": "not this one"}, {"scores": [0.1]}]


def test_concurrent_answers_are_in_request_order() -> None:
    queries = ["slow", "together", "together", "together", "q", "slow", "q"]
    requests: list[dict[str, object]] = [{"query": query, "documents": ["x" * n]} for n, query in enumerate(queries)]
    code, answers, _ = run("many", requests=requests)
    assert answers[1:] == [{"scores": [number / 10]} for number in range(len(queries))]
    assert code == 0


def test_failing_peer_reports_the_reason_and_exits_with_1() -> None:
    code, answers, _ = run("refuse")
    assert (code, answers) == (1, [{"error": "not a model"}])


def test_threads_are_set_in_the_environment() -> None:
    assert "3 3" in run("threads")[2]
