"""No body can hurt: too many, too deep, too long, lying about itself, or two requests dressed up as one."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.apps import runtime
from tests.support.fake_engine import FakeEngine
from tests.support.process import Served, launched, serve

MIB = 1024 * 1024
ASK = json.dumps({"query": "red fox", "documents": ["a cat"]}).encode()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve(runtime(FakeEngine(), body_timeout_s=10)) as served:
        yield served


def post(server: Served, body: bytes, path: str = "/v1/rerank", **headers: str) -> httpx2.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(f"{server.url}{path}", content=body, headers=names, timeout=60, trust_env=False)


def still_serves(server: Served) -> bool:
    return post(server, ASK).status_code == httpx2.codes.OK


def raw(server: Served, request: bytes) -> tuple[list[int], bytes]:
    """Send bytes as they are; return every status that came back until the server closed or had nothing more to say."""
    answer = b""
    with server.connect() as wire:
        wire.settimeout(1.0)
        wire.sendall(request)
        try:
            while chunk := wire.recv(65_536):
                answer += chunk
        except (TimeoutError, ConnectionResetError):
            pass
    return [int(line.split(b" ")[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")], answer


# -- compressed ---------------------------------------------------------------------------------------------------------

BOMB = gzip.compress(b'{"query": "a", "documents": ["' + b" " * 10 * MIB + b'"]}')


@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "br", "zstd", "deflate", "identity, gzip", "gzip, identity", "x-unheard-of"]
)
def test_compressed_body_is_refused_unopened(server: Served, coding: str) -> None:
    refused = post(server, BOMB, content_encoding=coding)
    assert refused.status_code == 415
    assert refused.json()["error"]["code"] == "unsupported_media_type"
    assert still_serves(server)


@pytest.mark.parametrize("body", [BOMB, zlib.compress(ASK), b"\x28\xb5\x2f\xfd" + ASK])
def test_compressed_body_that_does_not_say_so_is_no_json(server: Served, body: bytes) -> None:
    assert post(server, body).status_code == 400


def test_transfer_that_is_compressed_is_refused(server: Served) -> None:
    statuses, _ = raw(
        server, b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    )
    assert statuses[:1] == [400]
    assert still_serves(server)


# -- large, deep, long --------------------------------------------------------------------------------------------------


def test_hundred_thousand_documents_are_refused_by_number(server: Served) -> None:
    refused = post(server, json.dumps({"query": "a", "documents": ["b"] * 100_000}).encode())
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "documents"
    assert "max_client_batch_size" in refused.json()["message"]


@pytest.mark.parametrize("word", ["a ", "a", "字", "\\u0000", "<|im_end|>"])
def test_one_document_of_ten_megabytes_is_cut_and_ranked(server: Served, word: str) -> None:
    text = word * (10 * MIB // len(word.encode()))
    body = f'{{"query": "a", "documents": ["{text}", "a"], "return_documents": false}}'.encode()
    answer = post(server, body)
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 2
    assert len(answer.content) < 10_000


NESTED = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * NESTED,
        b"[" * NESTED + b"]" * NESTED,
        b'{"a":' * NESTED + b"1" + b"}" * NESTED,
        b'{"query": "a", "documents": ' + b"[" * NESTED + b"]" * NESTED + b"}",
        b'{"query": ' + b'{"text":' * NESTED + b'"a"' + b"}" * NESTED + b', "documents": ["a"]}',
    ],
    ids=["open", "lists", "objects", "documents", "query"],
)
def test_hundred_thousand_brackets_are_a_400(server: Served, body: bytes) -> None:
    assert post(server, body).status_code == 400
    assert still_serves(server)


@pytest.mark.parametrize(
    "number", [b"9" * 5000, b"-" + b"9" * 5000, b"0." + b"9" * 5000, b"1e" + b"9" * 5000, b"1e308", b"NaN", b"Infinity"]
)
@pytest.mark.parametrize("field", [b"top_n", b"timeout_ms", b"max_tokens_per_doc", b"query", b"unknown"])
def test_number_of_any_length_is_answered(server: Served, field: bytes, number: bytes) -> None:
    answer = post(server, b'{"query": "a", "documents": ["a"], "' + field + b'": ' + number + b"}")
    assert answer.status_code in {200, 400}
    assert b"9999" not in answer.content
    if answer.status_code == 200:
        assert field == b"unknown" or number in {b"1e308", b"0." + b"9" * 5000}


@pytest.mark.parametrize(
    "body", [b"", b" ", b"null", b"[]", b'""', b"1", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}{}", b'{"query": "a"}\0']
)
def test_body_that_is_not_an_object_is_a_400(server: Served, body: bytes) -> None:
    assert post(server, body).status_code == 400


def test_duplicate_keys_of_a_body_are_read_once(server: Served) -> None:
    body = b'{"query": "a", ' + b'"documents": ["a"], ' * 100_000 + b'"documents": ["b", "c"]}'
    answer = post(server, body)
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 2


# -- lying about itself -------------------------------------------------------------------------------------------------

INSIDE = b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(ASK) + ASK


@pytest.mark.parametrize(
    "lengths",
    [
        b"content-length: -1",
        b"content-length: +5",
        b"content-length: 5, 5",
        b"content-length: 0x10",
        b"content-length: 5\r\ncontent-length: 6",
        b"content-length: 99999999999999999999999",
        b"content-length: five",
        b"content-length: 5\r\ntransfer-encoding: chunked",
        b"transfer-encoding: chunked\r\ncontent-length: 5",
        b"transfer-encoding: identity, chunked, identity",
    ],
)
def test_invalid_content_length_is_refused_and_the_connection_closed(server: Served, lengths: bytes) -> None:
    """What one server takes for a body and another for a request is how requests are smuggled past a proxy."""
    statuses, _ = raw(server, b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\n" + lengths + b"\r\n\r\n0\r\n\r\n" + INSIDE)
    assert 200 not in statuses
    assert still_serves(server)


def test_body_longer_than_announced_ends_where_it_was_said_to_or_is_refused(server: Served) -> None:
    statuses, _ = raw(
        server,
        b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(ASK) + ASK + b"garbage\r\n\r\n",
    )
    assert statuses in ([200], [200, 400], [400])
    assert still_serves(server)


@pytest.mark.parametrize("chunk", [b"-1\r\n", b"xyz\r\n", b"ffffffffffffffffff\r\n", b"5\r\nab\r\n0\r\n\r\n"])
def test_chunk_that_cannot_be_is_not_served(server: Served, chunk: bytes) -> None:
    statuses, _ = raw(server, b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" + chunk)
    assert 200 not in statuses
    assert still_serves(server)


@pytest.mark.parametrize("head", [b"a: " + b"b" * MIB + b"\r\n", b"".join(b"h%d: b\r\n" % number for number in range(100_000))])
def test_headers_of_megabytes_are_not_buffered(server: Served, head: bytes) -> None:
    statuses, _ = raw(server, b"GET /health HTTP/1.1\r\nhost: localhost\r\n" + head + b"\r\n")
    assert set(statuses) <= {200, 400, 431}
    assert still_serves(server)


# -- memory -------------------------------------------------------------------------------------------------------------


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell the memory of a process")
@pytest.mark.parametrize("is_announced", [True, False])
def test_refused_body_uses_at_most_twice_the_limit_of_memory(is_announced: bool) -> None:
    limit = 8 * MIB
    with launched("tests.support.fakeserver", "--max-body-bytes", str(limit)) as running:
        served = Served(running.url, None)  # type: ignore[arg-type]
        assert still_serves(served)
        before = peak_bytes(running.process.pid)
        length = b"content-length: %d" % (100 * limit) if is_announced else b"transfer-encoding: chunked"
        for _ in range(3):
            push(
                served,
                b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\n" + length + b"\r\n\r\n",
                4 * limit,
                is_chunked=not is_announced,
            )
        assert peak_bytes(running.process.pid) - before < 2 * limit
        assert still_serves(served)


def push(server: Served, head: bytes, num_bytes: int, *, is_chunked: bool) -> None:
    """Send a body regardless of what the server says, until it is sent or cut off."""
    piece = os.urandom(65_536)
    frame = b"10000\r\n" + piece + b"\r\n" if is_chunked else piece
    with server.connect() as wire:
        wire.sendall(head)
        try:
            for _ in range(num_bytes // len(piece)):
                wire.sendall(frame)
        except (ConnectionResetError, BrokenPipeError):
            return
