"""Any bytes on a raw socket get a documented answer or a closed door, and the server goes on."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shortlist.api.dialects.table import ENTRIES
from tests.support.examples import examples
from tests.support.process import Launched, launched

PATIENCE_S = 10.0
FUZZ = settings(max_examples=examples(100, 500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

BODY = json.dumps({"query": "red fox", "documents": ["a cat", "the red fox"]}).encode()
WHOLE = (
    b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
    + BODY
)

paths = st.sampled_from(sorted(ENTRIES)).map(str.encode) | st.binary(max_size=12).map(lambda tail: b"/" + tail)
methods = st.sampled_from([b"POST", b"GET", b"PUT", b"HEAD", b"OPTIONS", b"post", b"BREW", b""])
names = st.sampled_from(
    [b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization", b"x-request-timeout-ms", b"expect"]
)
headers = st.lists(st.tuples(names | st.binary(max_size=8), st.binary(max_size=12) | st.sampled_from([b"0", b"chunked", b"5"])))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a good request, some of whose bytes are others."""
    request = bytearray(WHOLE)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(request) - 1))
        request[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(request)


@st.composite
def made_up(draw: st.DrawFn) -> bytes:
    """Return something in the form of a request."""
    lines = b"".join(b"%s: %s\r\n" % pair for pair in draw(headers))
    head = b"%s %s HTTP/1.1\r\nhost: localhost\r\n" % (draw(methods), draw(paths))
    return head + lines + b"\r\n" + draw(st.binary(max_size=60) | st.just(BODY))


@pytest.fixture(scope="module")
def server() -> Iterator[Launched]:
    with launched("tests.support.fakeserver") as running:
        yield running


def statuses(server: Launched, content: bytes) -> list[int]:
    """Send these bytes and no more, and return what is answered before the door is closed."""
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=PATIENCE_S) as wire:
        wire.sendall(content)
        wire.shutdown(socket.SHUT_WR)
        answer = b""
        while part := _received(wire):
            answer += part
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


def _received(wire: socket.socket) -> bytes:
    try:
        return wire.recv(65536)
    except ConnectionResetError:
        return b""


@FUZZ
@given(content=mutated() | made_up() | st.binary(max_size=200))
@example(WHOLE)
@example(WHOLE * 3)
@example(WHOLE[:-1])
@example(b"\0" * 1000)
@example(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n")
def test_any_bytes_on_the_wire_get_no_fault(server: Launched, content: bytes) -> None:
    assert all(100 <= status < 500 for status in statuses(server, content))


def test_good_request_is_answered_after_all_that(server: Launched) -> None:
    assert statuses(server, WHOLE)[:1] in ([200], [])  # a half-closed connection may count as a disconnect
    assert httpx2.post(f"{server.url}/v1/rerank", content=BODY).status_code == httpx2.codes.OK
    assert server.process.poll() is None
