"""The line protocol between a benchmark and a contender: a JSON line in, a JSON line out.

A contender says `{"ready": true, ...}` or `{"error": ...}` once, then answers `{"query", "documents"}` with `{"scores"}` until
its input ends, in the order of the requests.
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
        name: What the tables call it.
        version: The packages that matter, with their versions.
        dtype: What its weights are kept in.
        at_once: How many requests it likes to have under way; its scores are asked for from as many threads.
    """

    name: str
    version: str
    dtype: str
    at_once: int

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return P(yes) of every document, in order."""
        ...


def arguments(description: str | None) -> ArgumentParser:
    """Return a parser of the arguments that all contenders take."""
    parser = ArgumentParser(description=description)
    parser.add_argument("model", type=Path, help="folder of a Qwen3-Reranker")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    return parser


def gpu_arguments(description: str | None) -> ArgumentParser:
    """Return a parser of the arguments that contenders take which can be on a GPU."""
    parser = arguments(description)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--max-model-len", type=int, default=MAX_LENGTH, help="longest prompt in tokens (default: %(default)s)")
    return parser


def versions(*packages: str) -> str:
    """Return installed packages with their versions, as one text."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


def serve(start: Callable[[], AbstractContextManager[Contender]]) -> int:
    """Start a contender, answer every line of stdin, end it; return the exit status."""
    answers = _own_stdout()
    # A signal unwinds the stack, so that whatever the contender started ends with it.
    signal.signal(signal.SIGTERM, _leave)
    try:
        with start() as contender:
            said = {name: getattr(contender, name) for name in ("name", "version", "dtype", "at_once")}
            _write(answers, {"ready": True, **said})
            if contender.at_once == 1:  # on this thread, which is the one that libraries expect
                for line in sys.stdin.buffer:
                    _write(answers, _answer(contender, line))
            else:
                _serve_many(contender, answers)
    except Exception as error:  # noqa: BLE001  # whatever keeps an engine from starting is an answer too
        _write(answers, {"error": _reason(error)})
        return 1
    return 0


def _serve_many(contender: Contender, answers: int) -> None:
    under_way: SimpleQueue[Future[dict[str, Any]] | None] = SimpleQueue()
    with ThreadPoolExecutor(contender.at_once) as threads:

        def read() -> None:
            for line in sys.stdin.buffer:
                under_way.put(threads.submit(_answer, contender, line))
            under_way.put(None)

        Thread(target=read, daemon=True).start()
        while (answer := under_way.get()) is not None:
            _write(answers, answer.result())


def _own_stdout() -> int:
    """Return a descriptor of the real stdout, and point descriptor 1 at stderr: libraries and children print there."""
    real = os.dup(1)
    os.dup2(2, 1)
    return real


def _answer(contender: Contender, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return {"scores": contender.scores(request["query"], request["documents"])}
    except Exception as error:  # noqa: BLE001  # one request's failure is not the contender's
        return {"error": _reason(error)}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _write(descriptor: int, message: dict[str, Any]) -> None:
    line = memoryview((json.dumps(message) + "\n").encode())
    while line:
        line = line[os.write(descriptor, line) :]


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
