"""Calls the application in its own process, through all middlewares, for requests that it sends itself. Pure ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from starlette.types import ASGIApp, Message, Scope

HOST: Final = b"localhost"
"""The server answers to this name, whatever `allowed_host` says."""


@dataclass(slots=True)
class InProcessAnswer:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Headers by name, in lower case.
        body: The whole body.
    """

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


async def post(
    app: ASGIApp, path: str, body: bytes, headers: Iterable[tuple[bytes, bytes]], client: tuple[str, int]
) -> InProcessAnswer:
    """Send a POST request to the application, and return its answer.

    A cancellation becomes a disconnect, and waits for the application to end: raised inside of it, it would count as a stop of
    the server.
    """
    answer, has_left = InProcessAnswer(), asyncio.Event()
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await has_left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], dict(message.get("headers", ()))
        else:
            answer.body += message.get("body", b"")

    running = asyncio.ensure_future(app(_scope(path, headers, client), receive, send))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        has_left.set()
        await asyncio.wait({running})
        raise
    return answer


def _scope(path: str, headers: Iterable[tuple[bytes, bytes]], client: tuple[str, int]) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("ascii"),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", HOST), *headers],
        "client": client,
        "server": (HOST.decode(), 80),
    }
