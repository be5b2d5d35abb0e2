"""Runs one contender as a child process: starts it, sends requests, measures and ends it. Errors are one line with its name."""

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
"""Time limit for a contender to exit after its input closed."""

PULSE_S: Final = 0.5
"""Longest single wait: a signal that arrives just before a wait is handled only after it."""

MAX_MESSAGE_CHARS: Final = 200
_CHUNK_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Spec:
    """The name and the command of a contender."""

    name: str
    command: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `NAME=COMMAND`; the command is split as a shell does.

        Raises:
            BadSetting: the text has another form.
        """
        name, _, command = text.partition("=")
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise BadSetting(f"The command of contender {name!r} cannot be parsed: {error}.") from None
        if not name.strip() or not words:
            raise BadSetting(f"The contender {text!r} (--contender) must be NAME='COMMAND ...'.")
        return cls(name.strip(), words)


class ContenderProcess:
    """A running contender.

    Args:
        spec: The name and the command.
        arguments: Appended to the command: the model folder, and the flags that all contenders take.
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
                start_new_session=True,  # so that all its processes can be found and ended
            )
        except OSError as error:
            self._log.close()
            raise UpstreamError(f"{spec.name}: {spec.command[0]}: {error.strerror}", is_retryable=False) from None
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)

    def wait_ready(self, timeout_s: float) -> Ready:
        """Wait for the ready line and return its content.

        Raises:
            UpstreamError: the contender cannot run, exited, or exceeded the time limit.
        """
        message = self._message(self._line(b"", timeout_s))
        fields = [message.get(name) for name in ("name", "version", "dtype")]
        if message.get("ready") is not True or not all(isinstance(field, str) for field in fields):
            raise self._error(f"sent no ready line but {_short(message)}")
        at_once = message.get("at_once", 1)
        if not isinstance(at_once, int) or at_once < 1:
            raise self._error(f"sent a ready line whose at_once is not a positive integer: {_short(at_once)}")
        name, version, dtype = map(str, fields)
        return Ready(name=name, version=version, dtype=dtype, at_once=at_once)

    def ask(self, request: LoadRequest, timeout_s: float) -> tuple[list[float], float]:
        """Return the scores in document order, and the seconds from request line to answer line.

        Raises:
            UpstreamError: the contender refused, exited, exceeded the time limit, or did not send one probability per document.
        """
        line = _request_line(request)
        self._check_no_output()
        started_s = time.perf_counter()
        answer = self._line(line, timeout_s)
        seconds = time.perf_counter() - started_s
        return self._scores(self._message(answer), len(request.documents)), seconds

    def stream(self, requests: Sequence[LoadRequest], due: Due, timeout_s: float) -> list[tuple[float, float]]:
        """Send requests concurrently; return the due time and the answer time of each.

        Args:
            requests: The requests, in order.
            due: Returns the due time of the next request.
            timeout_s: Longest time without an answer while requests are in flight.

        Units:
            Seconds since the first request.

        Raises:
            UpstreamError: as in `ask`.
        """
        lines = [_request_line(request) for request in requests]
        self._check_no_output()
        due_s: list[float] = []
        answered_s: list[float] = []
        answers: list[bytes] = []
        started_s = time.perf_counter()
        last_answer_s = 0.0
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
            if new_answers := list(self._complete_lines()):
                last_answer_s = now_s
                answers += new_answers
                answered_s += [now_s] * len(new_answers)
            elif len(answers) < len(due_s) and now_s - max(last_answer_s, due_s[len(answers)]) > timeout_s:
                raise self._error(f"did not answer within {timeout_s:.0f} s")
            if len(answers) > len(due_s):
                raise self._error(f"sent a line without a request: {_short(answers[-1].decode(errors='replace'))}")
        for request, answer in zip(requests, answers, strict=True):
            self._scores(self._message(answer), len(request.documents))
        return list(zip(due_s, answered_s, strict=True))

    def pause(self) -> None:
        """Stop all processes of the contender until `resume`, so that an idle contender does not disturb a measurement."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the stopped processes. Has no effect on running ones."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in members(self._process.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def peak_bytes(self) -> int | None:
        """Return the sum of the memory peaks of its processes so far; None if unknown."""
        return peak_bytes(self._process.pid)

    def close(self, timeout_s: float = END_S) -> None:
        """Close the input, wait for the exit, then kill the remaining processes. A second call has no effect."""
        self.resume()
        for pipe in self._pipes:
            pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        _kill(self._process.pid)
        self._process.wait()
        self._log.close()

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None, "The process was started with a stdin pipe. This is a bug."
        assert self._process.stdout is not None, "The process was started with a stdout pipe. This is a bug."
        return self._process.stdin, self._process.stdout

    def _line(self, request_line: bytes, timeout_s: float) -> bytes:
        """Write a request line, which may exceed the pipe buffer, and return the answer line."""
        deadline_s, unsent = time.monotonic() + timeout_s, bytearray(request_line)
        while b"\n" not in self._unread:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise self._error(f"did not answer within {timeout_s:.0f} s")
            self._exchange(unsent, min(left_s, PULSE_S))
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _complete_lines(self) -> Iterator[bytes]:
        *lines, self._unread = self._unread.split(b"\n")
        yield from lines

    def _check_no_output(self) -> None:
        """Raise if there is output that belongs to no request."""
        with contextlib.suppress(BlockingIOError):
            self._read(self._pipes[1])
        if self._unread:
            raise self._error(f"sent a line without a request: {_short(self._unread.decode(errors='replace'))}")

    def _exchange(self, unsent: bytearray, max_wait_s: float) -> None:
        """Wait until a pipe is ready, then read and write; remove written bytes from `unsent`."""
        stdin, stdout = self._pipes
        with selectors.DefaultSelector() as pipes:
            pipes.register(stdout, selectors.EVENT_READ)
            if unsent:
                pipes.register(stdin, selectors.EVENT_WRITE)
            ready_fds = {key.fd for key, _ in pipes.select(max_wait_s)}
        if stdout.fileno() in ready_fds:
            self._read(stdout)
        if stdin.fileno() in ready_fds:
            del unsent[: self._write(stdin, unsent)]

    def _read(self, stdout: IO[bytes]) -> None:
        chunk = os.read(stdout.fileno(), _CHUNK_BYTES)
        if not chunk:
            raise self._exit_error()
        self._unread += chunk

    def _write(self, stdin: IO[bytes], unsent: bytearray) -> int:
        try:
            return os.write(stdin.fileno(), unsent)
        except BrokenPipeError:
            raise self._exit_error() from None

    def _message(self, line: bytes) -> dict[str, object]:
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict):
            raise self._error(f"sent a line that is not a JSON object: {_short(line.decode(errors='replace'))}")
        if "error" in message:
            raise self._error(f"reported an error: {_short(message['error'])}")
        return message

    def _scores(self, message: dict[str, object], num_documents: int) -> list[float]:
        scores = message.get("scores")
        if not isinstance(scores, list) or len(scores) != num_documents:
            raise self._error(f"did not answer with {num_documents} scores but {_short(message)}")
        if not all(isinstance(score, int | float) and math.isfinite(score) and 0 <= score <= 1 for score in scores):
            raise self._error(f"answered with scores that are not probabilities: {_short(scores)}")
        return [float(score) for score in scores]

    def _exit_error(self) -> UpstreamError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)
        code = self._process.poll()
        return self._error("closed its output" if code is None else f"exited with code {code}{self._last_log_line()}")

    def _last_log_line(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {_short(lines[-1])}" if lines else ""

    def _error(self, description: str) -> UpstreamError:
        return UpstreamError(f"{self.name} {description}", is_retryable=False)


def _request_line(request: LoadRequest) -> bytes:
    return orjson.dumps({"query": request.query, "documents": request.documents}, option=orjson.OPT_APPEND_NEWLINE)


def _kill(leader: int) -> None:
    """Kill the remaining processes of a contender: its process group, and the others of its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for pid in members(leader):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _short(content: object) -> str:
    text = " ".join(str(content).split())
    return text if len(text) <= MAX_MESSAGE_CHARS else f"{text[:MAX_MESSAGE_CHARS]} ..."
