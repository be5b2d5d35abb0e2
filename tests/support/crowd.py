"""A server on a real socket that does to every request what a test says, and remembers who asked what, and when."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Heard:
    """One request as it arrived."""

    number: int
    path: str
    headers: dict[str, str]
    body: Any
    at_s: float
    peer: int


Behave = Callable[[Heard], Awaitable[bytes | None]]
"""What to do with a request: return the bytes to answer with, or None to end the connection."""


class Scene:
    """A listening server; a context."""

    def __init__(self, behave: Behave, *, tls: ssl.SSLContext | None = None) -> None:
        self._behave = behave
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.heard: list[Heard] = []
        self.num_at_once = self.most_at_once = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close in a turn of their own

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def num_connections(self) -> int:
        """How many connections requests came over."""
        return len({heard.peer for heard in self.heard})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (answer := await self._answer(reader, writer)) is not None:
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other side is gone, or the scene is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        peer = writer.get_extra_info("peername")[1]
        body = json.loads(raw) if raw else None
        heard = Heard(len(self.heard), first.split()[1], headers, body, time.perf_counter(), peer)
        self.heard.append(heard)
        self.num_at_once += 1
        self.most_at_once = max(self.most_at_once, self.num_at_once)
        try:
            return await self._behave(heard)
        finally:
            self.num_at_once -= 1


@contextmanager
def playing(behave: Behave) -> Iterator[Scene]:
    """Let a scene play in a thread of its own, for what is tested without an event loop."""
    started = threading.Event()
    scene = Scene(behave)
    ending: list[Callable[[], object]] = []

    async def live() -> None:
        async with scene:
            over = asyncio.Event()
            loop = asyncio.get_running_loop()
            ending.append(lambda: loop.call_soon_threadsafe(over.set))
            started.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield scene
    finally:
        ending[0]()
        thread.join(10)


def reply(status: int, body: object = None, **headers: str) -> bytes:
    """Return an answer in full; header names are written with underscores."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-length": str(len(data)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + data


def score(document: str) -> float:
    return len(document) % 97 / 97


def ranking(documents: Sequence[str]) -> object:
    """Return what a reranker answers: best first."""
    found = [{"index": index, "relevance_score": score(document)} for index, document in enumerate(documents)]
    return {"results": sorted(found, key=lambda result: -result["relevance_score"])}


def well(heard: Heard) -> bytes:
    """Return a good answer."""
    return reply(200, ranking(heard.body["documents"]))


def always(*answers: bytes | None, after_s: float = 0.0) -> Behave:
    """Answer with these in turn, the last one repeatedly; without any, answer 200."""

    async def behave(heard: Heard) -> bytes | None:
        await asyncio.sleep(after_s)
        if not answers:
            return well(heard)
        return answers[min(heard.number, len(answers) - 1)]

    return behave
