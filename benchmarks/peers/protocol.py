"""The peers' side of the line protocol between the benchmark and a contender: one JSON object a line.

A contender sends `{"ready": true, ...}` or `{"error": ...}` once. Then it answers `{"query", "documents"}` with `{"scores"}`,
in request order, until its input ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import Any, NoReturn, Protocol

from benchmarks.peers.prompt import MAX_LENGTH


class Contender(Protocol):
    """An engine with its model loaded.

    Attributes:
        name: Its name in the report.
        version: Its main packages with their versions.
        dtype: Dtype of its weights.
        at_once: Number of concurrent requests; `scores` is called from as many threads.
    """

    name: str
    version: str
    dtype: str
    at_once: int

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return P(yes) of every document, in order."""
        ...


def arguments(description: str | None) -> ArgumentParser:
    """Return an argument parser with the arguments of all contenders."""
    parser = ArgumentParser(description=description)
    parser.add_argument("model", type=Path, help="folder of a Qwen3-Reranker")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    return parser


def gpu_arguments(description: str | None) -> ArgumentParser:
    """Return an argument parser with the arguments of contenders that support a GPU."""
    parser = arguments(description)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--max-model-len", type=int, default=MAX_LENGTH, help="longest prompt in tokens (default: %(default)s)")
    return parser


def versions(*packages: str) -> str:
    """Return packages with their installed versions, as text."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


def serve(start: Callable[[], AbstractContextManager[Contender]]) -> int:
    """Start a contender, answer every line of stdin and end it; return the exit status."""
    answers = _reserve_stdout()
    # The signal raises SystemExit, so that context managers end the contender's child processes.
    signal.signal(signal.SIGTERM, _exit)
    try:
        with start() as contender:
            fields = {name: getattr(contender, name) for name in ("name", "version", "dtype", "at_once")}
            _write(answers, {"ready": True, **fields})
            if contender.at_once == 1:  # on the main thread, because libraries may require it
                for line in sys.stdin.buffer:
                    _write(answers, _answer(contender, line))
            else:
                _serve_many(contender, answers)
    except Exception as error:  # noqa: BLE001  # every start error is reported to the benchmark
        _write(answers, {"error": _reason(error)})
        return 1
    return 0


def _serve_many(contender: Contender, answers: int) -> None:
    in_flight: SimpleQueue[Future[dict[str, Any]] | None] = SimpleQueue()
    with ThreadPoolExecutor(contender.at_once) as threads:

        def read() -> None:
            for line in sys.stdin.buffer:
                in_flight.put(threads.submit(_answer, contender, line))
            in_flight.put(None)

        Thread(target=read, daemon=True).start()
        while (answer := in_flight.get()) is not None:
            _write(answers, answer.result())


def _reserve_stdout() -> int:
    """Return a descriptor of the real stdout; redirect descriptor 1 to stderr, because libraries and children print there."""
    real = os.dup(1)
    os.dup2(2, 1)
    return real


def _answer(contender: Contender, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return {"scores": contender.scores(request["query"], request["documents"])}
    except Exception as error:  # noqa: BLE001  # a failed request does not end the contender
        return {"error": _reason(error)}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _write(descriptor: int, message: dict[str, Any]) -> None:
    line = memoryview((json.dumps(message) + "\n").encode())
    while line:
        line = line[os.write(descriptor, line) :]


def _exit(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
