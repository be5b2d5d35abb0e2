"""A session sends the user's key, address and language; cancel disconnects."""

from __future__ import annotations

import asyncio
import base64
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from shortlist.api.memory_budget import MemoryBudget
from shortlist.api.request_body import RequestBody
from shortlist.errors import InvalidInput, Unauthenticated
from shortlist.ui.i18n import CHINESE, ENGLISH, Messages
from shortlist.ui.session import Session, disconnect_on_cancel, session_factory
from tests.support.script import Answer, ScriptedServer, fault


def request(*, client: Any = ("10.0.0.7", 5), base_url: str = "http://localhost/", **headers: Any) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    address = None if client is None else SimpleNamespace(host=client[0], port=client[1])
    return SimpleNamespace(headers=names, client=address, base_url=base_url)


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


# -- key, language, address ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (basic("anybody:open-sesame"), "open-sesame"),
        (basic(":a:b"), "a:b"),
        ("Bearer open-sesame", "open-sesame"),
        (basic("anybody:"), None),
        (basic("钥匙:钥匙"), None),
        ("Basic ???", None),
        ("Basic /w==", None),
        ("", None),
    ],
)
def test_key_is_read_from_the_authorization_header(header: str, key: str | None) -> None:
    session = session_factory(ScriptedServer())(request(authorization=header))
    assert session.api_key == key


@pytest.mark.parametrize(
    ("headers", "messages"),
    [
        ({"accept_language": "zh-CN,en"}, CHINESE),
        ({"accept_language": "zh-CN", "cookie": "a=b; shortlist-language=en"}, ENGLISH),
        ({"accept_language": "en", "cookie": "shortlist-language=zh-CN"}, CHINESE),
        ({"accept_language": "zh", "cookie": "shortlist-language=xx"}, CHINESE),
        ({"accept_language": "zh", "cookie": "=; shortlist-language"}, CHINESE),
        ({}, ENGLISH),
    ],
)
def test_language_cookie_takes_precedence_over_accept_language(headers: dict[str, str], messages: Messages) -> None:
    assert session_factory(ScriptedServer())(request(**headers)).messages is messages


@pytest.mark.parametrize(
    ("origin", "base_url", "url"),
    [
        ("https://rank.example", "http://internal:80/", "https://rank.example"),
        ("https://rank.example", "http://internal:80/deep/prefix/", "https://rank.example/deep/prefix"),
        ("null", "http://here:8080/", "http://here:8080"),
        (None, "https://here:8080/deep/", "https://here:8080/deep"),
    ],
)
def test_url_is_the_address_in_the_browser(origin: str | None, base_url: str, url: str) -> None:
    headers = {} if origin is None else {"origin": origin}
    assert session_factory(ScriptedServer())(request(base_url=base_url, **headers)).url == url


@pytest.mark.parametrize(("client", "address"), [(("10.0.0.7", 5), "10.0.0.7"), (None, "127.0.0.1")])
async def test_client_address_is_that_of_the_user(client: tuple[str, int] | None, address: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await session_factory(app)(request(client=client)).request("/metrics")
    assert seen == [address]


# -- requests -------------------------------------------------------------------------------------------------------


def session(server: ScriptedServer, key: str | None = None) -> Session:
    return Session(transport=httpx2.ASGITransport(server), messages=ENGLISH, api_key=key)


async def test_body_is_posted_with_the_key() -> None:
    server = ScriptedServer()
    server.play(Answer(body={"a": 1}))
    assert (await session(server, "open-sesame").request("/v1/rerank", {"query": "中"})).json() == {"a": 1}
    asked = server.asked[0]
    assert (asked.method, asked.path, asked.body) == ("POST", "/v1/rerank", {"query": "中"})
    assert asked.headers["authorization"] == "Bearer open-sesame"


async def test_request_without_a_body_is_a_get() -> None:
    server = ScriptedServer()
    server.play(Answer(body=b"text"))
    assert (await session(server).request("/metrics")).text == "text"
    assert server.asked[0].method == "GET"
    assert "authorization" not in server.asked[0].headers


async def test_error_response_raises_its_error() -> None:
    server = ScriptedServer()
    server.play(Answer(401, fault("No key.")))
    with pytest.raises(Unauthenticated, match=r"No key\."):
        await session(server).request("/metrics")


async def test_invalid_unicode_is_not_sent() -> None:
    with pytest.raises(InvalidInput, match="Unicode"):
        await session(ScriptedServer()).request("/v1/rerank", {"query": "\ud800"})


# -- cancelling ---------------------------------------------------------------------------------------------------------


class Slow:
    """An app that never answers, and records its cancellation."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.ended: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


async def test_cancel_disconnects_and_waits_until_the_app_has_finished() -> None:
    slow = Slow()
    app = RequestBody(slow, budget=MemoryBudget(1 << 20), max_body_bytes=100, body_timeout_s=10)
    transport = httpx2.ASGITransport(disconnect_on_cancel(app))
    async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
        asking = asyncio.create_task(client.post("/v1/rerank", content=b"{}"))
        await slow.has_begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert slow.ended == ["cancelled"]


async def test_app_receives_a_disconnect_and_no_cancellation() -> None:
    received: list[str] = []
    has_started = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        has_started.set()
        while not received or received[-1] != "http.disconnect":
            received.append((await receive())["type"])

    transport = httpx2.ASGITransport(disconnect_on_cancel(app))
    async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
        asking = asyncio.create_task(client.post("/", content=b"{}"))
        await has_started.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert received[-1] == "http.disconnect"


async def test_error_of_the_app_is_raised() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("no")

    transport = httpx2.ASGITransport(disconnect_on_cancel(app))
    async with httpx2.AsyncClient(transport=transport, base_url="http://server") as client:
        with pytest.raises(RuntimeError, match="no"):
            await client.get("/")
