"""Shortlist on real sockets: its application in a thread, or its command in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import httpx2

from shortlist.api.app import create_app
from shortlist.service.runtime import Runtime
from tests.support.preloaded import Process, may_fork, preloaded
from tests.support.serving import free_port, serving

START_S = 90.0


@dataclass(frozen=True)
class Served:
    """A running application."""

    url: str
    runtime: Runtime

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", urlsplit(self.url).port or 0), timeout=10)


@contextmanager
def serve(runtime: Runtime) -> Iterator[Served]:
    """Serve a runtime with the full middleware stack on a free port, in a thread."""
    with serving(create_app(runtime)) as url:
        yield Served(url, runtime)


@dataclass(frozen=True)
class Launched:
    """A process that serves. What it said so far is in `log()`."""

    url: str
    process: Process
    log: Callable[[], str]


@contextmanager
def launched(*module_and_arguments: str, **environ: str) -> Iterator[Launched]:
    """Run `python -m MODULE ARGUMENTS` on a free port, until it is ready and for as long as a test needs it."""
    with start(*module_and_arguments, **environ) as server:
        wait_until(lambda: server.process.poll() is not None or is_ready(server.url), START_S, every_s=0.02)
        assert server.process.poll() is None, server.log()
        yield server


@contextmanager
def start(*module_and_arguments: str, **environ: str) -> Iterator[Launched]:
    """Run `python -m MODULE ARGUMENTS` on a free port, without waiting for anything."""
    port = free_port()
    module, arguments = module_and_arguments[0], [*module_and_arguments[1:], "--port", str(port)]
    with _memory() as output:
        process = _process(module, arguments, environ, (0, output, output))
        try:
            yield Launched(f"http://127.0.0.1:{port}", process, lambda: _content(output))
        finally:
            process.kill()
            process.wait(timeout=10)


def finished(*arguments: str, stdin: str = "", timeout_s: float = 90.0, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m shortlist ARGUMENTS` until it exits."""
    with _memory() as given, _memory() as output, _memory() as errors:
        os.write(given, stdin.encode())
        os.lseek(given, 0, os.SEEK_SET)
        process = _process("shortlist", arguments, environ, (given, output, errors))
        try:
            code = process.wait(timeout=timeout_s)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, code, _content(output), _content(errors))


def _process(module: str, arguments: Sequence[str], environ: Mapping[str, str], streams: tuple[int, int, int]) -> Process:
    """Start a module, by a fork where that is the same: see `preloaded`."""
    environ = {**os.environ, **environ}  # noqa: TID251
    if may_fork(module, environ):
        return preloaded().start(module, arguments, environ, streams)
    given, output, errors = streams
    return subprocess.Popen([sys.executable, "-m", module, *arguments], stdin=given, stdout=output, stderr=errors, env=environ)


@contextmanager
def _memory() -> Iterator[int]:
    """A file in memory, by its descriptor. An unread pipe would block the process."""
    descriptor = os.memfd_create("stream")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0, *, every_s: float = 0.005) -> None:
    """Return once the condition holds, which is looked at every so many seconds; fail if it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(every_s)


class Lateness:
    """While it is entered, finds out how late this machine lets a process run that has slept: what others do to it."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _measure(self) -> None:
        before_s = time.monotonic()
        while not self._is_over.wait(0.01):
            now_s = time.monotonic()
            self.longest_s = max(self.longest_s, now_s - before_s - 0.01)
            before_s = now_s


def is_ready(url: str) -> bool:
    """Ask a server whether it is ready; one that takes no connection is not."""
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(_connection(url)) as asked:
        asked.request("GET", "/ready")
        return asked.getresponse().status == httpx2.codes.OK
    return False


def _connection(url: str) -> http.client.HTTPConnection:
    """Return the cheapest client there is: a server is asked many times while it starts."""
    place = urlsplit(url)
    return http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)


def _content(descriptor: int) -> str:
    return os.pread(descriptor, 10_000_000, 0).decode(errors="replace")
