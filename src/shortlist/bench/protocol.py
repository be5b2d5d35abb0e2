"""How bench and contender talk: one JSON object a line, over the contender's standard input and output.

A contender that can answer says so once: `{"ready": true, "name": ..., "version": ..., "dtype": ...}`; one that cannot says
`{"error": why}` and exits 1. It answers every `{"query": ..., "documents": [...]}` with `{"scores": [...]}`, the
probability of yes per document in the order of the request, or with `{"error": why}` for that request alone. The end of its
input ends it. This is the contender's side of it, for those that are ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

import orjson

from shortlist.bench.loads import Request
from shortlist.errors import ServiceError

EXIT_ENDED = 0
EXIT_CANNOT_RUN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a contender says of itself: its name, what it is made of, and what it computes in."""

    name: str
    version: str
    dtype: str


Answer = Callable[[Request], Sequence[float]]
"""A contender at work: a request in, one probability per document out; raises ServiceError for a request that failed."""

Opened = AbstractContextManager[tuple[Ready, Answer]]


def speak(opened: Opened) -> int:
    """Open a contender, answer until the end of the input, close it, and return the exit code."""
    questions, answers = sys.stdin.buffer, _only_answers_on_stdout()
    try:
        with opened as (ready, answer):
            _say(answers, {"ready": True, "name": ready.name, "version": ready.version, "dtype": ready.dtype})
            for line in questions:
                _say(answers, _answered(line, answer))
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
        return {"scores": list(answer(Request(asked["query"], tuple(asked["documents"]))))}
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
