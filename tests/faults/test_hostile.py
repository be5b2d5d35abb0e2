"""Small requests that are built to be expensive: a real server refuses them, or does bounded work, and serves others meanwhile.

Bounds are many times what is needed; before the limits were there, each was exceeded by far.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.hostile import MIB, Probes, answer_to, connect, memory, post, reset_highest
from tests.support.process import Launched, launched, wait_until

ASK: Final = {"query": "red fox", "documents": ["a cat", "the red fox"]}
LONGEST_S: Final = 5.0
"""How long a probe may wait: without limits it waited for 10 to 40 s."""


@pytest.fixture(scope="module")
def server() -> Iterator[Launched]:
    with launched("shortlist", "serve", "demo") as running:
        yield running


@pytest.fixture(scope="module")
def strict() -> Iterator[Launched]:
    """A server with short timeouts and few connections."""
    flags = ["--header-timeout-s", "3", "--write-timeout-s", "2", "--max-connections", "32", "--max-header-bytes", "16384"]
    with launched("shortlist", "serve", "demo", *flags, "--max-transfer-bytes", str(24 * MIB)) as running:
        yield running


BODIES: Final[dict[str, tuple[str, bytes, int]]] = {
    "wrong rank_fields": ("/v1/rerank", b'{"query":"q","documents":["a"],"rank_fields":[' + b"1," * 200_000 + b"1]}", 400),
    "many wrong rank_fields": (
        "/v1/rerank",
        b'{"query":"q","documents":["a"],"rank_fields":[' + b"1," * 3_000_000 + b"1]}",
        400,
    ),
    "repeated rank_fields": (
        "/v1/rerank",
        json.dumps({"query": "q", "rank_fields": ["a"] * 10_000, "documents": [{"a": "x y " * 12_500}]}).encode(),
        400,
    ),
    "wrong ids": ("/detokenize", b'{"tokens":[' + b'"",' * 200_000 + b'""]}', 400),
    "wrong lists of ids": ("/decode", b'{"ids":[' + b'[""],' * 100_000 + b"[]]}", 422),
    "10 million documents": ("/v1/rerank", b'{"query":"q","documents":[' + b'"",' * 10_000_000 + b'""]}', 400),
    "400 thousand documents": ("/v1/rerank", b'{"query":"q","documents":[' + b'"",' * 400_000 + b'""]}', 400),
    "empty lists as documents": ("/v1/rerank", b'{"query":"q","documents":[' + b"[]," * 5_000_000 + b"[]]}", 400),
    "many texts": ("/v1/embeddings", b'{"input":[' + b'"a",' * 400_000 + b'"a"]}', 400),
    "many pairs": ("/predict", b'{"inputs":[' + b'["a","b"],' * 100_000 + b'["a","b"]]}', 422),
    "unknown field": ("/v1/rerank", b'{"query":"q","documents":["a"],"x":[' + b"{}," * 3_000_000 + b"{}]}", 400),
    "deep": (
        "/v1/rerank",
        b'{"query":"q","documents":["a"],"x":' + b"[" * 900 + b"]" * 900 + b',"y":"' + b" " * MIB + b'"}',
        400,
    ),
    "long texts to tokenize": ("/tokenize", json.dumps({"prompt": "x z " * 500_000}).encode(), 413),
    "templated query": (
        "/v1/rerank",
        json.dumps({"query": "<|im_start|><Instruct>" + "\n<Query>: " * 100_000, "documents": ["a"] * 100}).encode(),
        200,
    ),
    "blank query for many": ("/score", json.dumps({"text_1": " " * 2_000_000, "text_2": ["a"] * 2000}).encode(), 400),
}


@pytest.mark.parametrize("name", BODIES)
def test_expensive_body_is_refused_quickly_and_cheaply(server: Launched, name: str) -> None:
    path, body, status = BODIES[name]
    post(server, ASK)
    before = memory(server, "VmRSS")
    reset_highest(server)
    with Probes(server) as probes:
        answer = post(server, body, path)
    assert answer.status_code == status, answer.text[:300]
    assert probes.longest_s < LONGEST_S
    assert memory(server, "VmHWM") - before < 100 * MIB + 5 * len(body)
    assert post(server, ASK).status_code == httpx2.codes.OK


@pytest.mark.parametrize("text", ["x z ", "中文字", " ", "\n", "a", "<|im_end|>", "é\u0301", "\U0001f642"])
@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/embeddings"])
def test_long_text_costs_what_is_read_of_it(server: Launched, text: str, path: str) -> None:
    long = text * (15 * MIB // len(text.encode()))
    body = {"query": "q", "documents": ["red fox", long]} if path == "/v1/rerank" else {"input": ["red fox", long]}
    content = json.dumps(body, ensure_ascii=False).encode()
    before = memory(server, "VmRSS")
    reset_highest(server)
    with Probes(server) as probes:
        answer = post(server, content, path)
    assert answer.status_code == httpx2.codes.OK, answer.text[:300]
    assert probes.longest_s < LONGEST_S
    assert memory(server, "VmHWM") - before < 250 * MIB + 6 * len(content)


def test_tokenizing_has_a_deadline(server: Launched) -> None:
    body = json.dumps({"prompt": "x z " * 30_000}).encode()
    assert post(server, body, "/tokenize", x_request_timeout_ms="1").status_code == httpx2.codes.GATEWAY_TIMEOUT
    assert post(server, body, "/tokenize").status_code == httpx2.codes.OK


# -- headers and paths ----------------------------------------------------------------------------------------------------


def test_any_number_of_prefixes_costs_little(server: Launched) -> None:
    path = "/m/demo" * 2000
    with Probes(server) as probes:
        answers = [httpx2.get(f"{server.url}{path}", trust_env=False) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {404}
    assert probes.longest_s < LONGEST_S


def test_many_parameters_are_refused_before_they_are_parsed(server: Launched) -> None:
    answer = httpx2.get(f"{server.url}/health?{'a=b&' * 100}", trust_env=False)
    assert (answer.status_code, "100 parameters" in answer.text) == (400, True)
    assert httpx2.get(f"{server.url}/health?{'a=b&' * 50}", trust_env=False).status_code == httpx2.codes.OK


@pytest.mark.parametrize("part", [b"x1: " + b"a" * 1000 + b"\r\n", b"a" * 1000])
def test_endless_headers_are_cut_off(server: Launched, part: bytes) -> None:
    sent = 0
    with connect(server) as wire, contextlib.suppress(ConnectionError):
        wire.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nx: ")
        while sent < 64 * MIB:
            wire.sendall(part)
            sent += len(part)
    assert sent < 16 * MIB  # what the buffers between both ends hold


def test_large_headers_are_refused_with_a_limit(strict: Launched) -> None:
    answer = answer_to(strict, b"GET /health HTTP/1.1\r\nHost: localhost\r\nx: " + b"a" * 20_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"max_header_bytes" in answer
    assert answer_to(strict, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: localhost\r\n"])
def test_host_is_required_once(server: Launched, hosts: bytes) -> None:
    answer = answer_to(server, b"GET /health HTTP/1.1\r\n" + hosts + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer_to(server, b"GET /health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")  # the header is newer


def test_two_keys_are_refused(server: Launched) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"
    assert answer_to(server, request).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/health", "/ready", "/version", "/v1/models", "/metrics", "/docs", "/info", "/"])
def test_head_is_get_without_a_body(server: Launched, path: str) -> None:
    answer = httpx2.head(f"{server.url}{path}", trust_env=False)
    assert (answer.status_code < 400, answer.content) == (True, b"")


def test_upgrade_offers_with_a_body_are_answered(server: Launched) -> None:
    """As Java's HttpClient sends every first request."""
    body = json.dumps(ASK).encode()
    head = (
        b"POST /v1/rerank HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: localhost\r\nHTTP2-Settings: AAEAAEAA\r\n"
        b"Upgrade: h2c\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    with connect(server) as wire:
        for _ in range(2):
            wire.sendall(head)
            time.sleep(0.1)  # the body comes in a packet of its own
            wire.sendall(body)
            answer = http.client.HTTPResponse(wire)
            answer.begin()
            assert (answer.status, len(json.loads(answer.read())["results"])) == (200, 2)


@pytest.mark.skipif(shutil.which("java") is None, reason="there is no JDK")
def test_java_client_is_answered(server: Launched) -> None:
    """LangChain4j and Spring send with the JDK's client."""
    command = ["java", str(Path(__file__).parents[1] / "support/Rank.java"), server.url]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert [line.split()[:2] for line in found.stdout.splitlines()] == [["200", "HTTP_1_1"]] * 3, found.stderr


# -- connections ------------------------------------------------------------------------------------------------------------


def is_closed(wire: socket.socket) -> bool:
    wire.settimeout(20)
    try:
        return wire.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: lo"])
def test_connection_without_a_request_is_closed(strict: Launched, sent: bytes) -> None:
    with connect(strict) as wire:
        wire.sendall(sent)
        assert is_closed(wire)


def test_idle_connections_give_way_to_new_ones(strict: Launched) -> None:
    with contextlib.ExitStack() as opened:
        wires = [opened.enter_context(connect(strict)) for _ in range(100)]
        assert httpx2.get(f"{strict.url}/health", trust_env=False).status_code == httpx2.codes.OK
        assert is_closed(wires[0])


def test_answers_that_are_not_read_are_dropped(strict: Launched) -> None:
    body = json.dumps({"input": ["a"] * 2048}).encode()  # an answer of some 10 MB
    request = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    post(strict, body, "/v1/embeddings")
    before = memory(strict, "VmRSS")
    with contextlib.ExitStack() as opened:
        wires = []
        for _ in range(24):
            wire = opened.enter_context(socket.socket())
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.connect(("127.0.0.1", urlsplit(strict.url).port or 0))
            wire.sendall(request)
            wires.append(wire)
        time.sleep(2)
        assert memory(strict, "VmRSS") - before < 200 * MIB  # 24 answers have 240 MB
        wait_until(lambda: running_requests(strict) == 1, 60)  # its own
    assert post(strict, ASK).status_code == httpx2.codes.OK


def running_requests(server: Launched) -> float:
    text = httpx2.get(f"{server.url}/metrics", trust_env=False, timeout=30).text
    [line] = [line for line in text.splitlines() if line.startswith("shortlist_running_requests ")]
    return float(line.split()[1])


def test_bodies_have_a_budget_together(strict: Launched) -> None:
    body = b'{"query":"q","return_documents":false,"documents":["' + b"a " * (5 * MIB) + b'"]}'
    alone = post(strict, body)
    assert alone.status_code == httpx2.codes.OK, alone.text[:300]
    with connect(strict) as wire:
        wire.sendall(b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body[: 9 * MIB])
        answer = post(strict, body)
    assert answer.status_code == httpx2.codes.TOO_MANY_REQUESTS
    assert answer.headers["retry-after"] == "1"


def test_body_beyond_the_budget_is_too_large_instead_of_busy(strict: Launched) -> None:
    answer = post(strict, b'{"query":"q","documents":["' + b"a " * (13 * MIB) + b'"]}')
    assert answer.status_code == httpx2.codes.CONTENT_TOO_LARGE
    assert "max_transfer_bytes" in answer.json()["message"]


def test_files_running_out_is_survived_and_said_once() -> None:
    with launched("tests.support.few_files", "60", "serve", "demo", "--no-ui") as server, contextlib.ExitStack() as opened:
        for _ in range(100):
            with contextlib.suppress(OSError):
                opened.enter_context(connect(server))
        assert httpx2.get(f"{server.url}/health", trust_env=False, timeout=30).status_code == httpx2.codes.OK
        assert server.log().count("cannot be accepted") <= 1
        assert len(server.log()) < 10_000


# -- other sites ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://evil.example", "sec-fetch-site": "cross-site", "content-type": "text/plain"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused(server: Launched, headers: dict[str, str]) -> None:
    for path in ("/v1/rerank", "/ui/gradio_api/queue/join"):
        answer = httpx2.post(f"{server.url}{path}", json=ASK, headers=headers, trust_env=False, timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "evil.localhost", "localhost.evil.example", "127.0.0.1.evil.example"]
)
def test_other_hosts_are_refused_with_the_flag_for_them(server: Launched, host: str) -> None:
    answer = httpx2.get(f"{server.url}/v1/models", headers={"host": host}, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "misdirected")
    assert "--allowed-host" in answer.json()["message"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "shortlist", "server:8080", "127.0.0.1:8080", "[::1]:8080", "[::1]"]
)
def test_names_of_this_machine_are_allowed(server: Launched, host: str) -> None:
    assert httpx2.get(f"{server.url}/v1/models", headers={"host": host}, trust_env=False).status_code == httpx2.codes.OK


def test_forwarded_headers_do_not_evade_limits() -> None:
    with launched("shortlist", "serve", "demo", "--no-ui", "--max-requests-per-minute", "6") as server:
        statuses = [post(server, ASK, x_forwarded_for=f"10.0.0.{number}").status_code for number in range(12)]
    assert statuses.count(429) >= 6


# -- text -------------------------------------------------------------------------------------------------------------------


def test_byte_order_mark_is_skipped(server: Launched) -> None:
    assert post(server, b"\xef\xbb\xbf" + json.dumps(ASK).encode()).status_code == httpx2.codes.OK


def test_unpaired_surrogates_become_replacement_characters(server: Launched) -> None:
    odd = rb'{"query":"q","documents":["a\ud800b","\udc00","\\ud800","\ud83d\ude42"]}'
    answer = post(server, odd)
    texts = {each["index"]: each["document"]["text"] for each in answer.json()["results"]}
    assert texts == {0: "a\ufffdb", 1: "\ufffd", 2: r"\ud800", 3: "\U0001f642"}
    assert post(server, rb'{"query":"q","documents":["\ud800"').status_code == httpx2.codes.BAD_REQUEST


# -- the page ---------------------------------------------------------------------------------------------------------------


def test_page_logs_no_texts_stores_no_uploads_and_allows_no_sites(server: Launched) -> None:
    with httpx2.Client(base_url=server.url, trust_env=False, timeout=120) as client:
        assert client.get("/ui/").status_code == httpx2.codes.OK
        for body in ({"fn_index": 0, "data": ["CANARYTEXT"], "session_hash": "h"}, {"data": "CANARYTEXT"}, ["CANARYTEXT"]):
            client.post("/ui/gradio_api/queue/join", json=body)
        upload = client.post("/ui/gradio_api/upload", files={"files": ("pwn.txt", b"x")})
        assert upload.status_code == httpx2.codes.NOT_FOUND
        config = client.get("/ui/config", headers={"origin": "http://evil.example"})
        assert not [name for name in config.headers if name.startswith("access-control")]
        with client.stream("GET", "/ui/gradio_api/queue/data?session_hash=h") as stream:
            for line in stream.iter_lines():
                if "process_completed" in line or "unexpected_error" in line:
                    break
    assert "CANARYTEXT" not in server.log()


def test_open_page_does_not_delay_a_stop() -> None:
    with launched("shortlist", "serve", "demo", "--drain-timeout-s", "60") as server:
        httpx2.get(f"{server.url}/ui/", trust_env=False, timeout=120)
        with connect(server) as wire:
            wire.sendall(b"GET /ui/gradio_api/heartbeat/h1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert wire.recv(4096).startswith(b"HTTP/1.1 200 ")
            server.process.terminate()
            assert server.process.wait(timeout=30) == 0
        assert "ERROR" not in server.log()
