"""Closed by default once there are keys; every client's spelling of a key is understood."""

from __future__ import annotations

import base64

import pytest
from starlette.types import Message, Receive, Scope, Send

from shortlist.api.auth import PUBLIC_PATHS, Auth
from shortlist.errors import Unauthenticated


async def _inside(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "inside"})


async def enter(path: str, headers: list[tuple[bytes, bytes]], keys: list[str]) -> bool:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await Auth(_inside, keys=keys)({"type": "http", "path": path, "headers": headers}, receive, send)
    return bool(sent)


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"authorization", b"Bearer key-2"),
        (b"authorization", b"bearer   key-2 "),
        (b"authorization", b"key-2"),
        (b"authorization", basic("anybody", "key-2")),
        (b"x-api-key", b"key-2"),
        (b"api-key", b"key-2"),
    ],
)
async def test_key_is_understood_in_every_spelling(name: bytes, value: bytes) -> None:
    assert await enter("/v1/rerank", [(name, value)], ["key-1", "key-2"])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer key-10")],
        [(b"authorization", b"Bearer key")],
        [(b"authorization", b"Basic !!!")],
        [(b"authorization", basic("key-1", ""))],
        [(b"x-api-key", b"KEY-1")],
    ],
)
@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/rerank/", "//v1/rerank", "/metrics", "/docs", "/ui/", "/", "/health/"])
async def test_everything_is_closed_without_a_valid_key(path: str, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthenticated):
        await enter(path, headers, ["key-1"])


@pytest.mark.parametrize("path", sorted(PUBLIC_PATHS))
async def test_probes_need_no_key(path: str) -> None:
    assert await enter(path, [], ["key-1"])


async def test_without_keys_everybody_may_come_in() -> None:
    assert await enter("/v1/rerank", [(b"authorization", b"Bearer None")], [])
