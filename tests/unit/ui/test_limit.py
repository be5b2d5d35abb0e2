"""The page takes so much and no more, however it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shortlist.ui.limit import limited


async def counting(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def parts(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


async def catching(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as frameworks do that catch whatever a body raises."""
    try:
        await counting(scope, receive, send)
    except Exception:  # noqa: BLE001
        await PlainTextResponse("There was an error parsing the body", 400)(scope, receive, send)


@pytest.mark.parametrize("app", [counting, catching])
@pytest.mark.parametrize(("sizes", "status"), [((10,), 200), ((4, 6), 200), ((11,), 413), ((6, 6), 413)])
async def test_body_is_read_up_to_the_limit(app: ASGIApp, sizes: tuple[int, ...], status: int) -> None:
    transport = httpx2.ASGITransport(limited(app, max_body_bytes=10))
    async with httpx2.AsyncClient(transport=transport, base_url="http://page") as client:
        answer = await client.post("/", content=parts(*sizes))
    assert answer.status_code == status
    if status == 200:
        assert answer.text == str(sum(sizes))


async def test_answer_that_has_begun_is_not_begun_again() -> None:
    async def eager(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await Request(scope, receive).body()

    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(str(message["type"]))

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 11, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    await limited(eager, max_body_bytes=10)(scope, receive, send)
    assert sent == ["http.response.start"]
