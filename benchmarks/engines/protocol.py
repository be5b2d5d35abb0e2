"""The contender's side of the line protocol: one JSON object a line, over the contender's standard input and output.

- Start: the contender sends `{"ready": true, "name": ..., "version": ..., "dtype": ...}`. An optional `"at_once": number` is
  the number of concurrent requests. If it cannot run, it sends `{"error": reason}` and exits with 1.
- Requests: it answers `{"query": ..., "documents": [...]}` with `{"scores": [...]}`, the probability of yes per document, in
  document order. If one request fails, it answers `{"error": reason}`. Answers come in request order.
- End: it exits at the end of its input.

This module is for Shortlist's own contenders; `benchmarks/peers/protocol.py` is for the peers.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from typing import BinaryIO

import orjson

from shortlist.bench.texts import LoadRequest
from shortlist.errors import ServiceError

AT_ONCE = 16
"""Concurrent requests of Shortlist's contenders: enough clients to keep a server busy."""

EXIT_ENDED = 0
EXIT_CANNOT_RUN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The content of a ready line.

    Attributes:
        name: Name of the contender.
        version: Its packages with their versions.
        dtype: Dtype of the computation.
        at_once: Number of concurrent requests.
    """

    name: str
    version: str
    dtype: str
    at_once: int = 1


Answer = Callable[[LoadRequest], Sequence[float]]
"""Returns one probability per document of a request; raises ServiceError if the request fails.

It is called from `Ready.at_once` threads.
"""

OpenContender = AbstractContextManager[tuple[Ready, Answer]]


def serve_lines(contender: OpenContender) -> int:
    """Open a contender, answer requests until the input ends, close it, and return the exit code."""
    requests, answers = sys.stdin.buffer, _reserve_stdout()
    try:
        with contender as (ready, answer), ThreadPoolExecutor(ready.at_once) as threads:
            _send(answers, {"ready": True, **asdict(ready)})
            in_flight: SimpleQueue[Future[dict[str, object]] | None] = SimpleQueue()

            def read() -> None:
                for line in requests:
                    in_flight.put(threads.submit(_answer_line, line, answer))
                in_flight.put(None)

            threading.Thread(target=read, name="requests", daemon=True).start()
            while (future := in_flight.get()) is not None:
                _send(answers, future.result())
    except ServiceError as error:
        _send(answers, {"error": error.message})
        return EXIT_CANNOT_RUN
    return EXIT_ENDED


def use_threads(number: int | None) -> None:
    """Set the number of compute threads of this process and its children; None keeps the default of the libraries.

    Must be called before the libraries are loaded, because they read the C environment only then.
    """
    if number is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
            os.putenv(name, str(number))


def _answer_line(line: bytes, answer: Answer) -> dict[str, object]:
    request = orjson.loads(line)
    try:
        return {"scores": list(answer(LoadRequest(request["query"], tuple(request["documents"]))))}
    except ServiceError as error:
        return {"error": error.message}


def _reserve_stdout() -> BinaryIO:
    """Return the standard output for answers; redirect file descriptor 1, and so the output of libraries, to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _send(answers: BinaryIO, message: dict[str, object]) -> None:
    answers.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))
    answers.flush()
