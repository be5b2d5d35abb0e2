"""A server that answers what a test told it to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


@dataclass
class Answer:
    """One prepared answer. `body` is sent as JSON unless it is bytes; `promised_bytes` lies about its length."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    promised_bytes: int | None = None
    delay_s: float = 0.0

    def response(self) -> Response:
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"content-type": "application/json", **self.headers}
        if self.promised_bytes is not None:
            headers["content-length"] = str(self.promised_bytes)
        return Response(content, self.status, headers)


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class ScriptedServer:
    """Plays `answers` in order, repeating the last; an ASGI app."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []

    def play(self, *answers: Answer) -> None:
        self.answers, self.asked = list(answers), []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        request = Request(scope, receive)
        raw = await request.body()
        is_json = raw and "json" in request.headers.get("content-type", "json")
        body = json.loads(raw) if is_json else raw or None
        self.asked.append(Asked(request.method, request.url.path, dict(request.headers), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(answer.delay_s)
        await answer.response()(scope, receive, send)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def fault(message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None) -> Any:
    """Return the body of a refusal, as the server writes it."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return {"error": error, "message": message, "detail": message, "request_id": "r-1"}
