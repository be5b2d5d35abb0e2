"""A real Redis in a process of its own, and servers that only pretend to be one."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.process import wait_until
from tests.support.serving import free_port

START_S = 20.0


def missing_redis() -> str | None:
    """Return why there is no Redis to test with, or None if there is one."""
    return None if shutil.which("redis-server") else "redis-server is not installed"


@dataclass
class RedisServer:
    """A Redis that keeps nothing on disk, and can be killed and started again on its port."""

    folder: Path
    password: str | None = None
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        command += ["--requirepass", self.password] if self.password else []
        self.process = subprocess.Popen([*command, *self.arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, START_S)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None

    def ask(self, *words: bytes) -> bytes:
        """Send one command as a person at a terminal would, and return the first piece of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
            frame = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
            wire.sendall(frame)
            return wire.recv(1_000_000)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask(b"PING")[:1] in {b"+", b"-"}  # an error is an answer: it wants a password
        return False


@contextlib.contextmanager
def redis_server(folder: Path, *arguments: str, password: str | None = None) -> Iterator[RedisServer]:
    """Run a Redis for as long as a test needs it."""
    server = RedisServer(folder, password, arguments)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def pretender(answer: bytes | None) -> Iterator[str]:
    """Yield the URL of a server that answers everything with these bytes, or accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_pretend, args=(listener, answer), daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _pretend(listener: socket.socket, answer: bytes | None) -> None:
    held = []
    with contextlib.suppress(OSError):
        while True:
            wire, _ = listener.accept()
            held.append(wire)
            if answer is not None:
                threading.Thread(target=_answer, args=(wire, answer), daemon=True).start()
    for wire in held:
        wire.close()


def _answer(wire: socket.socket, answer: bytes) -> None:
    with contextlib.suppress(OSError):
        while wire.recv(65_536):
            wire.sendall(answer)
