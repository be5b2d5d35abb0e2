"""Shortlist on real sockets: its application in a thread, or its command in a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import httpx2

from shortlist.api.app import create_app
from shortlist.service.runtime import Runtime
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
    process: subprocess.Popen[bytes]
    log: Callable[[], str]


@contextmanager
def launched(*module_and_arguments: str, **environ: str) -> Iterator[Launched]:
    """Run `python -m MODULE ARGUMENTS` on a free port, until it is ready and for as long as a test needs it."""
    with start(*module_and_arguments, **environ) as server:
        wait_until(lambda: server.process.poll() is not None or is_ready(server.url), START_S)
        assert server.process.poll() is None, server.log()
        yield server


@contextmanager
def start(*module_and_arguments: str, **environ: str) -> Iterator[Launched]:
    """Run `python -m MODULE ARGUMENTS` on a free port, without waiting for anything."""
    port = free_port()
    command = [sys.executable, "-m", *module_and_arguments, "--port", str(port)]
    with contextlib.ExitStack() as served:
        # A file, not a pipe: an unread pipe would block the server.
        output = served.enter_context(open(os.memfd_create("server-output"), "w+b"))  # noqa: PTH123
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environ})  # noqa: TID251
        try:
            yield Launched(f"http://127.0.0.1:{port}", process, lambda: _content(output.fileno()))
        finally:
            process.kill()
            process.wait(timeout=10)


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
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"{url}/ready").status_code == httpx2.codes.OK
    return False


def _content(descriptor: int) -> str:
    return os.pread(descriptor, 10_000_000, 0).decode(errors="replace")
