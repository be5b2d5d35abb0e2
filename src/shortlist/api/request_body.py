"""Reads a request body within its limits, and cancels the handler on a disconnect. Pure ASGI.

The middleware reads the whole body first. Then the handler runs while this middleware watches the channel for a disconnect;
middleware that reads the channel for the handler cannot see one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shortlist.api.memory_budget import Claim, MemoryBudget
from shortlist.api.request_state import state_of
from shortlist.errors import BodyTooLarge, BodyTooSlow, UnsupportedMedia

BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


class ClientDisconnected(Exception):
    """The client disconnected."""


class RequestBody:
    """ASGI middleware.

    Args:
        app: The inner application.
        budget: The memory of all bodies and answers. A body counts until the answer is written.
        max_body_bytes: Larger bodies are refused without being read further.
        body_timeout_s: Slower bodies are refused.
        streamed: Paths whose handlers read the body themselves, as it arrives, and raise `ClientDisconnected`.

    Raises:
        BodyTooLarge, BodyTooSlow, UnsupportedMedia, Overloaded: to the outer middleware, before the handler starts.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        budget: MemoryBudget,
        max_body_bytes: int,
        body_timeout_s: float,
        streamed: Collection[str] = (),
    ) -> None:
        self.app = app
        self._streamed = frozenset(streamed)
        self._budget = budget
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then run the handler until it ends or the client disconnects."""
        if scope["type"] != "http" or scope["method"] not in BODY_METHODS:
            await self.app(scope, receive, send)
            return
        if scope["path"] in self._streamed:
            with contextlib.suppress(ClientDisconnected):
                await self.app(scope, receive, send)
            return
        with contextlib.suppress(ClientDisconnected), self._budget.claim() as claim:
            body = await self._read(scope, receive, claim)
            state_of(scope).claim = claim
            await self._handle(body, scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, claim: Claim) -> bytes:
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise UnsupportedMedia("Compressed bodies are not accepted; send the JSON as it is.")
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._max_body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                return await self._gather(receive, claim)
        except TimeoutError:
            raise BodyTooSlow(f"The body did not arrive within {self._body_timeout_s:g} s.") from None

    async def _gather(self, receive: Receive, claim: Claim) -> bytes:
        chunks: list[bytes] = []
        num_bytes = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunks.append(message.get("body", b""))
            num_bytes += len(chunks[-1])
            if num_bytes > self._max_body_bytes:
                raise self._too_large()
            claim.add(len(chunks[-1]))
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _handle(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the handler in this task, and cancel it on a disconnect, as `asyncio.timeout` does at its deadline."""
        handler = asyncio.current_task()
        assert handler is not None, "Requests are handled in tasks. This is a bug."

        def cancel(_: asyncio.Future[None]) -> None:
            handler.cancel()

        hang_up = asyncio.ensure_future(_disconnected(receive))
        hang_up.add_done_callback(cancel)
        try:
            await self.app(scope, _replay(body), send)
        except BaseException:  # errors after a disconnect have no reader
            if hang_up.done() and not handler.uncancel():
                raise ClientDisconnected from None
            raise
        finally:
            hang_up.remove_done_callback(cancel)
            hang_up.cancel()

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body is larger than {self._max_body_bytes} bytes (max_body_bytes).")


def _replay(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()  # disconnects are watched in `_handle`, and arrive as a cancellation
        return {"type": "http.disconnect"}

    return receive


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
