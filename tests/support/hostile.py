"""Bodies and bytes that are built to be expensive, and what they cost a real server."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

from tests.support.process import Launched

MIB: Final = 1024 * 1024


def post(server: Launched, body: bytes | dict[str, Any], path: str = "/v1/rerank", **headers: str) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(f"{server.url}{path}", content=content, headers=names, timeout=120, trust_env=False)


def connect(server: Launched) -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=30)


def answer_to(server: Launched, request: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back."""
    answer = b""
    with connect(server) as wire, contextlib.suppress(TimeoutError, ConnectionError):
        wire.sendall(request)
        wire.settimeout(5)
        while chunk := wire.recv(65_536):
            answer += chunk
    return answer


def memory(server: Launched, name: str) -> int:
    """Return a size of the process in bytes: VmRSS, or VmHWM for the highest so far."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def reset_highest(server: Launched) -> None:
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


class Probes:
    """Asks for /health all the time, and remembers the longest wait."""

    def __init__(self, server: Launched) -> None:
        self.longest_s = 0.0
        self._url = f"{server.url}/health"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx2.Client(timeout=120, trust_env=False) as client:
            while not self._is_over.wait(0.02):
                started_s = time.monotonic()
                assert client.get(self._url).status_code == httpx2.codes.OK
                self.longest_s = max(self.longest_s, time.monotonic() - started_s)
