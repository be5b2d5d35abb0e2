"""ASGI middleware around the Gradio page: no uploads, and Shortlist's own tags in the document's head.

Gradio adds head tags only after its scripts have run: too late for the language, and a dark page would first flash white.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD: Final = "/gradio_api/upload"
CORS: Final = b"access-control-"
HEAD_TAG: Final = b"<head>"
MANIFEST: Final = b'href="/manifest.json"'
RELATIVE_MANIFEST: Final = b'href="../manifest.json"'
"""Relative to the page, so that it is right under any prefix."""


def without_uploads_and_cors(app: ASGIApp) -> ASGIApp:
    """Wrap the app so that uploads are refused before they are stored, and other sites are allowed nothing."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and UPLOAD in scope["path"]:
            await PlainTextResponse("The page takes no uploads.", 404)(scope, receive, send)
            return

        async def send_own(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [pair for pair in message["headers"] if not pair[0].lower().startswith(CORS)]
            await send(message)

        await app(scope, receive, send_own)

    return call


def insert_head(app: ASGIApp, head: str) -> ASGIApp:
    """Wrap the app so that `head` comes first in the HTML head of the root document."""
    addition = head.encode()

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")) not in {"", "/"}:
            await app(scope, receive, send)
            return
        uncompressed = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await app({**scope, "headers": uncompressed}, receive, _inserting(addition, send))

    return call


def _inserting(addition: bytes, send: Send) -> Send:
    """Return a send function that buffers the whole response and inserts the addition."""
    buffered: list[Message] = []

    async def buffer(message: Message) -> None:
        buffered.append(message)
        if message["type"] != "http.response.body" or message.get("more_body", False):
            return
        start, *parts = buffered
        body = b"".join(part.get("body", b"") for part in parts).replace(MANIFEST, RELATIVE_MANIFEST, 1)
        body = body.replace(HEAD_TAG, HEAD_TAG + addition, 1)
        headers = MutableHeaders(raw=start["headers"])
        if body:
            headers["content-length"] = str(len(body))
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return buffer
