"""The page's document with our own head in it from the first byte.

Gradio puts a head there only after its own scripts have run, which is too late: by then it has decided on a language, and a
reader of dark pages has been shown a white one.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPENING = b"<head>"


def with_head(app: ASGIApp, head: str) -> ASGIApp:
    """Return the app with `head` at the beginning of the head of the document at its root."""
    addition = head.encode()

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")) not in {"", "/"}:
            await app(scope, receive, send)
            return
        uncompressed = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await app({**scope, "headers": uncompressed}, receive, _adding(addition, send))

    return call


def _adding(addition: bytes, send: Send) -> Send:
    """Return a way to send an answer that is held back until it is whole, and sent with the addition."""
    held: list[Message] = []

    async def add(message: Message) -> None:
        held.append(message)
        if message["type"] != "http.response.body" or message.get("more_body", False):
            return
        start, *parts = held
        body = b"".join(part.get("body", b"") for part in parts).replace(OPENING, OPENING + addition, 1)
        headers = MutableHeaders(raw=start["headers"])
        if body:
            headers["content-length"] = str(len(body))
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return add
