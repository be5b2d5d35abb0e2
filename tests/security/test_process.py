"""A whole server process at its most talkative, and not one of its callers' words in what it says."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.process import Launched, launched, wait_until

CANARY = "canary"
KEY = "canary-key"
HEADERS = {"authorization": f"Bearer {KEY}"}
ARGUMENTS = ("--log-level", "debug", "--max-body-bytes", "20000", "--body-timeout-s", "1", "--max-client-batch-size", "32")


def ask(*words: str, **more: object) -> Mapping[str, object]:
    return {
        "query": "canary query",
        "documents": [f"canary {word}" for word in words or ("one",)],
        "instruction": "canary i",
        **more,
    }


CALLS: dict[str, tuple[int, str, object, Mapping[str, str]]] = {
    "ranked": (200, "/v1/rerank", ask("one", "two", return_documents=False), HEADERS),
    "embedded": (200, "/v1/embeddings", {"input": ["canary"], "instruction": "canary i"}, HEADERS),
    "engine quotes": (500, "/v1/rerank", ask("#quote"), HEADERS),
    "engine quotes in a group": (500, "/v1/rerank", ask("#group"), HEADERS),
    "engine quotes, embedding": (500, "/v1/embeddings", {"input": ["canary #quote"]}, HEADERS),
    "engine fails": (500, "/v1/rerank", ask("#fail"), HEADERS),
    "thread fails": (200, "/v1/rerank", ask("#thread", return_documents=False), HEADERS),
    "task fails": (200, "/v1/rerank", ask("#task", return_documents=False), HEADERS),
    "no key": (401, "/v1/rerank", ask(), {}),
    "wrong key": (401, "/v1/rerank", ask(), {"x-api-key": "canary-wrong"}),
    "unknown model": (404, "/v1/rerank", ask(model="canary"), HEADERS),
    "unknown path": (404, "/canary", ask(), HEADERS),
    "wrong types": (400, "/v1/rerank", ask(top_n="canary"), HEADERS),
    "too many": (400, "/v1/rerank", ask(*["canary"] * 40), HEADERS),
    "too large": (413, "/v1/rerank", ask("canary " * 5000), HEADERS),
    "compressed": (415, "/v1/rerank", ask(), {**HEADERS, "content-encoding": "canary"}),
    "too late": (504, "/v1/rerank", ask(*map(str, range(9)), timeout_ms=1, return_documents=False), HEADERS),
}


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[Launched]:
    with launched("tests.support.fakeserver", *ARGUMENTS, *arguments, SHORTLIST_API_KEY=f"{KEY},canary-second") as running:
        yield running


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_text_of_a_caller_is_in_the_output(style: str) -> None:
    with server("--log-format", style) as running, httpx2.Client(base_url=running.url, trust_env=False) as client:
        for name, (status, path, body, headers) in CALLS.items():
            answer = client.post(f"{path}?q=canary", json=body, headers={**headers, "x-request-id": f"id-{len(name)}"})
            assert answer.status_code in ({status, 200} if status == 504 else {status}), (name, answer.text)
            assert CANARY not in answer.text + str(answer.headers), name
        talk_nonsense(running.url)
        metrics = client.get("/metrics", headers=HEADERS).text
        dies = client.post("/v1/rerank", json=ask("#die"), headers=HEADERS)
        assert (dies.status_code, CANARY in dies.text) == (503, False)
        assert running.process.wait(timeout=20) == 1
        log = running.log()
    assert CANARY not in (log + metrics).lower()
    for told in ("Indigestion", "ExceptionGroup", "KeyError", "fakeserver.py", "in quote"):
        assert told in log, "an error was kept quiet about altogether"
    if style == "json":
        assert all(json.loads(line) for line in log.splitlines() if line.startswith("{"))


def talk_nonsense(url: str) -> None:
    """Speak something that is not HTTP, hang up in the middle of a body, and ask for a websocket."""
    place = ("127.0.0.1", urlsplit(url).port or 0)
    head = f"POST /v1/rerank HTTP/1.1\r\nhost: canary\r\nauthorization: Bearer {KEY}\r\ncontent-length: 99\r\n\r\n".encode()
    for said in (b"CANARY canary\r\n\r\n", b"GET /canary HTTP/9\r\n\r\n", head + b'{"query": "canary'):
        with socket.create_connection(place, timeout=10) as wire:
            wire.sendall(said)
            wire.settimeout(0.2)
            with contextlib.suppress(OSError):
                wire.recv(1000)
    upgrade = b"GET /ui/canary HTTP/1.1\r\nhost: canary\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    upgrade += b"sec-websocket-version: 13\r\nsec-websocket-key: Y2FuYXJ5Y2FuYXJ5Y2FuYQ==\r\n\r\n"
    with socket.create_connection(place, timeout=10) as wire:
        wire.sendall(upgrade)
        status = wire.recv(1000).split(b" ", 2)[1]
        assert status in {b"401", b"403"}


def test_websocket_of_a_stranger_leaves_no_error_in_the_log() -> None:
    with server() as running:
        before = running.log()
        talk_nonsense(running.url)
        wait_until(lambda: running.process.poll() is None)
        said = running.log().removeprefix(before)
    assert "ERROR" not in said
    assert "raised at" not in said


def test_every_name_of_the_trouble_is_asked_for() -> None:
    from tests.support.fakeserver import CAUSES

    texts = json.dumps([body for _, _, body, _ in CALLS.values()])
    asked = [word for word in itertools.chain(CAUSES) if word in texts]
    assert set(asked) | {"#die"} == set(CAUSES)


def test_address_of_a_caller_cannot_be_forged() -> None:
    """No proxy is trusted by default, not even one on this machine, whatever the HTTP server's own variable says."""
    limit = ("--max-requests-per-minute", "6")  # one at once
    with launched("tests.support.fakeserver", *limit, FORWARDED_ALLOW_IPS="*") as server:
        statuses = [
            httpx2.post(
                f"{server.url}/v1/rerank", json=ask(), headers={"x-forwarded-for": f"6.6.6.{number}"}, trust_env=False
            ).status_code
            for number in range(2)
        ]
    assert statuses == [200, 429]
