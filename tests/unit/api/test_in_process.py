"""Requests of the server to itself: as from outside, and a cancellation is a disconnect."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from starlette.types import Receive, Scope, Send

from shortlist.api import in_process
from tests.support.wire import HANG_UP


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = (await receive())["body"]
    headers = [(b"x-path", scope["path"].encode()), (b"x-host", dict(scope["headers"])[b"host"])]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body[:2], "more_body": True})
    await send({"type": "http.response.body", "body": body[2:]})


async def test_answer_is_returned_whole() -> None:
    answer = await in_process.post(echo, "/v1/rerank", b"text", [(b"x-a", b"b")], ("192.0.2.7", 1))
    assert (answer.status, bytes(answer.body)) == (201, b"text")
    assert answer.headers == {b"x-path": b"/v1/rerank", b"x-host": b"localhost"}


async def test_error_of_the_application_is_raised() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await in_process.post(fails, "/", b"", [], ("192.0.2.7", 1))


async def test_cancellation_is_a_disconnect_that_is_waited_for() -> None:
    seen: list[object] = []
    is_inside = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        is_inside.set()
        seen.append(await receive())
        await asyncio.sleep(0.01)
        seen.append("ended")

    call = asyncio.create_task(in_process.post(waits, "/", b"", [], ("192.0.2.7", 1)))
    await is_inside.wait()
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    assert call.cancelled()
    assert seen == [HANG_UP, "ended"]
