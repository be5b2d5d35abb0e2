"""How bench and contender talk: one JSON object a line, over the contender's standard input and output.

A contender that can answer says so once: `{"ready": true, "name": ..., "version": ..., "dtype": ...}`, and with
`"at_once": number` how many requests it likes to have under way, if that is more than one; one that cannot says
`{"error": why}` and exits 1. It answers every `{"query": ..., "documents": [...]}` with `{"scores": [...]}`, the
probability of yes per document in the order of the request, or with `{"error": why}` for that request alone; answers come in
the order of the requests. The end of its input ends it. This is the contender's side of it, for those that are ours.
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
"""Requests that ours like to have under way: as many callers as make a server busy."""

EXIT_ENDED = 0
EXIT_CANNOT_RUN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a contender says of itself.

    Attributes:
        name: Its name.
        version: What it is made of.
        dtype: What it computes in.
        at_once: How many requests it likes to have under way.
    """

    name: str
    version: str
    dtype: str
    at_once: int = 1


Answer = Callable[[LoadRequest], Sequence[float]]
"""A contender at work: a request in, one probability per document out; raises ServiceError for a request that failed.

It is called from as many threads as requests may be under way.
"""

Opened = AbstractContextManager[tuple[Ready, Answer]]


def speak(opened: Opened) -> int:
    """Open a contender, answer until the end of the input, close it, and return the exit code."""
    questions, answers = sys.stdin.buffer, _only_answers_on_stdout()
    try:
        with opened as (ready, answer), ThreadPoolExecutor(ready.at_once) as threads:
            _say(answers, {"ready": True, **asdict(ready)})
            under_way: SimpleQueue[Future[dict[str, object]] | None] = SimpleQueue()

            def read() -> None:
                for line in questions:
                    under_way.put(threads.submit(_answered, line, answer))
                under_way.put(None)

            threading.Thread(target=read, name="questions", daemon=True).start()
            while (answered := under_way.get()) is not None:
                _say(answers, answered.result())
    except ServiceError as error:
        _say(answers, {"error": error.message})
        return EXIT_CANNOT_RUN
    return EXIT_ENDED


def use_threads(number: int | None) -> None:
    """Compute with this many threads, here and in programs started from here; None leaves it to the libraries.

    To be called before they are loaded, which is when they look, in the environment that C sees.
    """
    if number is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
            os.putenv(name, str(number))


def _answered(line: bytes, answer: Answer) -> dict[str, object]:
    asked = orjson.loads(line)
    try:
        return {"scores": list(answer(LoadRequest(asked["query"], tuple(asked["documents"]))))}
    except ServiceError as error:
        return {"error": error.message}


def _only_answers_on_stdout() -> BinaryIO:
    """Return the standard output, and send to the log whatever a library may print from now on."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _say(answers: BinaryIO, message: dict[str, object]) -> None:
    answers.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))
    answers.flush()
