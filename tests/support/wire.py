"""Both ends of one request, made by hand: what the server would hand to an ASGI application, and what it would take back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import Message, Scope

from shortlist.api.request_state import state_of

HANG_UP: Message = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = False) -> Message:
    """Return one piece of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


def http_scope(*headers: tuple[bytes, bytes], method: str = "POST", path: str = "/v1/rerank") -> Scope:
    return {"type": "http", "method": method, "path": path, "headers": list(headers)}


class Wire:
    """`notify` and `hang_up` are the client's side; `receive` and `send` are handed to the application."""

    def __init__(self, *messages: Message) -> None:
        self.sent: list[Message] = []
        self.num_received = 0
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self._messages.put_nowait(message)

    def notify(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._messages.put_nowait(message)

    def hang_up(self) -> None:
        self._messages.put_nowait(HANG_UP)

    async def receive(self) -> Message:
        message = await self._messages.get()
        self.num_received += 1
        return message

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def statuses(self) -> list[int]:
        """Every status that was sent; more than one would be a broken connection."""
        return [message["status"] for message in self.sent if message["type"] == "http.response.start"]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent if message["type"] == "http.response.body")

    def header(self, name: bytes) -> bytes | None:
        """Return what the one answer says in this header."""
        [start] = [message for message in self.sent if message["type"] == "http.response.start"]
        return dict(start["headers"]).get(name)


def with_state(scope: Scope, **fields: Any) -> Scope:
    """Return a copy of a scope with this request state."""
    copy = dict(scope)
    for name, value in fields.items():
        setattr(state_of(copy), name, value)
    return copy
