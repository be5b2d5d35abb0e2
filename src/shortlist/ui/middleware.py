"""ASGI middleware around the Gradio page: a body limit, and Shortlist's own tags in the document's head.

The page's forms carry whole files, and Gradio has no body limit. Gradio also adds head tags only after its scripts have run:
too late for the language, and a dark page would first flash white.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 64 << 20
"""Fits the largest file that is read (16 MiB), which JSON may encode with more bytes."""


class _TooLarge(Exception):
    """More has come than is taken."""


def limited(app: ASGIApp, *, max_body_bytes: int = MAX_BODY_BYTES) -> ASGIApp:
    """Return the app with a limit on bodies: a larger one is answered with 413 and read no further."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        num_bytes, has_answered = 0, False

        async def read() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > max_body_bytes:
                raise _TooLarge
            return message

        async def answer(message: Message) -> None:
            nonlocal has_answered
            if num_bytes > max_body_bytes and not has_answered:
                return  # a framework that caught our error has its own idea of what was wrong
            has_answered = True
            await send(message)

        with suppress(_TooLarge):
            await app(scope, read, answer)
        if num_bytes > max_body_bytes and not has_answered:
            await PlainTextResponse("The page does not take so much at once.", 413)(scope, receive, send)

    return call


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
