"""An ASGI app on a real loopback socket, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp


@contextlib.contextmanager
def serving(app: ASGIApp, *, bound: socket.socket | None = None) -> Iterator[str]:
    """Yield the URL of the app, served by uvicorn in a thread on a bound socket, or a port of the system's choice."""
    with bound or socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def free_port() -> int:
    """Return a loopback port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    until_s = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive(), "the server died while starting"
        assert time.monotonic() < until_s, "the server did not start"
        time.sleep(0.01)
