"""How much the page takes at once: its forms carry whole files, and its framework would read a body of any size."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 64 << 20
"""Room for the largest file that is read (16 MiB), which JSON may write with more bytes than it has."""


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
