"""Real servers on real sockets: an application under uvicorn in a thread, for tests that need a wire."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from shortlist.api.app import create_app
from shortlist.service.runtime import Runtime


@dataclass(frozen=True)
class Served:
    """A running server. `address` is where it listens."""

    address: tuple[str, int]
    runtime: Runtime

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)


@contextmanager
def serve(runtime: Runtime) -> Iterator[Served]:
    """Serve a runtime with the full middleware stack on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(runtime), log_config=None, access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield Served(listener.getsockname(), runtime)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def wait_until(condition, timeout_s: float = 10.0) -> None:  # type: ignore[no-untyped-def]
    """Return once the condition holds; fail if it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.005)
