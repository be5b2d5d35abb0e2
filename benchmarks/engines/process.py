"""One contender as a child process: started, asked, measured, ended. What it does wrong becomes one line that names it."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final, Self

import orjson

from benchmarks.engines.memory import members, peak_bytes
from benchmarks.engines.protocol import Ready
from benchmarks.engines.saturation import Due
from shortlist.bench.texts import LoadRequest
from shortlist.errors import BadSetting, UpstreamError

END_S: Final = 30.0
"""How long a contender may take to end by itself."""

PULSE_S: Final = 0.5
"""Longest wait at a time: a signal that comes just before one is only heeded after it."""

MAX_WORDS_CHARS: Final = 200
_CHUNK_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Spec:
    """Which program to run, and what to call it."""

    name: str
    command: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the contender of `NAME=COMMAND`; the command is split as a shell would.

        Raises:
            BadSetting: it is not of that form.
        """
        name, _, command = text.partition("=")
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise BadSetting(f"The command of contender {name!r} cannot be read: {error}.") from None
        if not name.strip() or not words:
            raise BadSetting(f"The contender {text!r} (--contender) must be NAME='COMMAND ...'.")
        return cls(name.strip(), words)


class ContenderProcess:
    """A running contender.

    Args:
        spec: What to run.
        arguments: Appended to its command: the model's folder, and the flags that all contenders take.
    """

    def __init__(self, spec: Spec, arguments: Sequence[str] = ()) -> None:
        self.name = spec.name
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the contender
        self._unread = b""
        try:
            self._process = subprocess.Popen(
                [*spec.command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                bufsize=0,
                start_new_session=True,  # so that all that comes of it can be found, and ended
            )
        except OSError as error:
            self._log.close()
            raise UpstreamError(f"{spec.name}: {spec.command[0]}: {error.strerror}", is_retryable=False) from None
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)

    def wait_ready(self, timeout_s: float) -> Ready:
        """Wait until it can answer, and return what it says of itself.

        Raises:
            UpstreamError: it cannot run, died, or took longer than allowed.
        """
        said = self._message(self._line(b"", timeout_s))
        fields = [said.get(name) for name in ("name", "version", "dtype")]
        if said.get("ready") is not True or not all(isinstance(field, str) for field in fields):
            raise self._fault(f"did not say that it is ready but {_short(said)}")
        at_once = said.get("at_once", 1)
        if not isinstance(at_once, int) or at_once < 1:
            raise self._fault(f"likes to have a number of requests under way that is none: {_short(at_once)}")
        name, version, dtype = map(str, fields)
        return Ready(name=name, version=version, dtype=dtype, at_once=at_once)

    def ask(self, request: LoadRequest, timeout_s: float) -> tuple[list[float], float]:
        """Return its scores in the order of the documents, and the seconds from request line to answer line.

        Raises:
            UpstreamError: it refused, died, took longer than allowed, or the answer is not one probability per document.
        """
        line = _question(request)
        self._be_quiet()
        started_s = time.perf_counter()
        answer = self._line(line, timeout_s)
        seconds = time.perf_counter() - started_s
        return self._scores(self._message(answer), len(request.documents)), seconds

    def stream(self, requests: Sequence[LoadRequest], due: Due, timeout_s: float) -> list[tuple[float, float]]:
        """Ask all these, several at a time; return of each when it was due and when it was answered.

        Args:
            requests: What to ask, in order.
            due: When.
            timeout_s: How long it may say nothing.

        Units: seconds from the first.

        Raises:
            UpstreamError: as `ask`.
        """
        lines = [_question(request) for request in requests]
        self._be_quiet()
        due_s: list[float] = []
        answered_s: list[float] = []
        answers: list[bytes] = []
        started_s = time.perf_counter()
        heard_s = 0.0
        unsent = bytearray()
        while len(answers) < len(lines):
            now_s = time.perf_counter() - started_s
            next_s = math.inf
            while len(due_s) < len(lines) and (next_s := due(len(due_s), len(answers), now_s)) <= now_s:
                unsent += lines[len(due_s)]
                due_s.append(next_s)
                next_s = math.inf
            self._exchange(unsent, min(next_s - now_s, PULSE_S))
            now_s = time.perf_counter() - started_s
            if came := list(self._whole_lines()):
                heard_s = now_s
                answers += came
                answered_s += [now_s] * len(came)
            elif len(answers) < len(due_s) and now_s - max(heard_s, due_s[len(answers)]) > timeout_s:
                raise self._fault(f"said nothing for {timeout_s:.0f} s")
            if len(answers) > len(due_s):
                raise self._fault(f"spoke without being asked: {_short(answers[-1].decode(errors='replace'))}")
        for request, answer in zip(requests, answers, strict=True):
            self._scores(self._message(answer), len(request.documents))
        return list(zip(due_s, answered_s, strict=True))

    def rest(self) -> None:
        """Stop all its processes until `wake`, so that nothing it does while it waits can disturb the others."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on. Harmless if it does not rest."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in members(self._process.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def peak_bytes(self) -> int | None:
        """Return the most memory that its processes needed so far; None where that cannot be known."""
        return peak_bytes(self._process.pid)

    def close(self, timeout_s: float = END_S) -> None:
        """Let it end by itself, and end what is left of it. Calling it twice is harmless."""
        self.wake()
        for pipe in self._pipes:
            pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        _kill(self._process.pid)
        self._process.wait()
        self._log.close()

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None, "Asked for when it was started. This is a bug."
        assert self._process.stdout is not None, "Asked for when it was started. This is a bug."
        return self._process.stdin, self._process.stdout

    def _line(self, question: bytes, timeout_s: float) -> bytes:
        """Write a question, which may be more than a pipe holds, and return the line that comes back."""
        until_s, unsent = time.monotonic() + timeout_s, bytearray(question)
        while b"\n" not in self._unread:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise self._fault(f"said nothing for {timeout_s:.0f} s")
            self._exchange(unsent, min(left_s, PULSE_S))
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _whole_lines(self) -> Iterator[bytes]:
        *lines, self._unread = self._unread.split(b"\n")
        yield from lines

    def _be_quiet(self) -> None:
        """See to it that nothing is left of what was said before."""
        with contextlib.suppress(BlockingIOError):
            self._read(self._pipes[1])
        if self._unread:
            raise self._fault(f"spoke without being asked: {_short(self._unread.decode(errors='replace'))}")

    def _exchange(self, unsent: bytearray, most_s: float) -> None:
        """Wait until something can be read or written, do that, and take what was written from what is not."""
        stdin, stdout = self._pipes
        with selectors.DefaultSelector() as pipes:
            pipes.register(stdout, selectors.EVENT_READ)
            if unsent:
                pipes.register(stdin, selectors.EVENT_WRITE)
            able = {key.fd for key, _ in pipes.select(most_s)}
        if stdout.fileno() in able:
            self._read(stdout)
        if stdin.fileno() in able:
            del unsent[: self._write(stdin, unsent)]

    def _read(self, stdout: IO[bytes]) -> None:
        chunk = os.read(stdout.fileno(), _CHUNK_BYTES)
        if not chunk:
            raise self._died()
        self._unread += chunk

    def _write(self, stdin: IO[bytes], unsent: bytearray) -> int:
        try:
            return os.write(stdin.fileno(), unsent)
        except BrokenPipeError:
            raise self._died() from None

    def _message(self, line: bytes) -> dict[str, object]:
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict):
            raise self._fault(f"did not answer in JSON but: {_short(line.decode(errors='replace'))}")
        if "error" in message:
            raise self._fault(f"says: {_short(message['error'])}")
        return message

    def _scores(self, message: dict[str, object], num_documents: int) -> list[float]:
        scores = message.get("scores")
        if not isinstance(scores, list) or len(scores) != num_documents:
            raise self._fault(f"did not answer with {num_documents} scores but {_short(message)}")
        if not all(isinstance(score, int | float) and math.isfinite(score) and 0 <= score <= 1 for score in scores):
            raise self._fault(f"answered with scores that are no probabilities: {_short(scores)}")
        return [float(score) for score in scores]

    def _died(self) -> UpstreamError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)
        code = self._process.poll()
        return self._fault("closed its output" if code is None else f"ended with exit code {code}{self._last_words()}")

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {_short(lines[-1])}" if lines else ""

    def _fault(self, what: str) -> UpstreamError:
        return UpstreamError(f"{self.name} {what}", is_retryable=False)


def _question(request: LoadRequest) -> bytes:
    return orjson.dumps({"query": request.query, "documents": request.documents}, option=orjson.OPT_APPEND_NEWLINE)


def _kill(leader: int) -> None:
    """End what is left of a contender: its process group, and other processes in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for pid in members(leader):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _short(said: object) -> str:
    text = " ".join(str(said).split())
    return text if len(text) <= MAX_WORDS_CHARS else f"{text[:MAX_WORDS_CHARS]} ..."
