"""Real sockets, the full middleware stack: large, slow and broken bodies, and clients that hang up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from shortlist.service.runtime import Runtime
from shortlist.types import Batch, TextPrompt
from tests.support.apps import runtime
from tests.support.fake_engine import FakeEngine, log_odds
from tests.support.process import Served, serve, wait_until

MIB = 1024 * 1024


def ask(*documents: str, query: str = "red fox") -> bytes:
    return json.dumps({"query": query, "documents": documents}).encode()


def head(length: int | None, *extra: str) -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return "\r\n".join(["POST /v1/rerank HTTP/1.1", "host: localhost", size, *extra, "", ""]).encode()


def read_all(wire: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := wire.recv(65_536):
            data += chunk
            if b"\r\n\r\n" in data and data.endswith(b"}"):
                break
    return data


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


class GatedEngine(FakeEngine):
    """Ends no step before its gate is open. The gate is for other threads to open."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    async def score(self, batch: Batch) -> Sequence[float]:
        self.batches.append(batch)
        while not self.opened.is_set():  # noqa: ASYNC110 - another thread opens it
            await asyncio.sleep(0.005)
        return [log_odds(item.prompt) for item in batch.items]


def queries(engine: FakeEngine) -> list[str]:
    """Return the query of every item that was computed."""
    prompts = [item.prompt for batch in engine.batches for item in batch.items]
    return [prompt.prefix.text for prompt in prompts if isinstance(prompt, TextPrompt)]


def idle(service: Runtime) -> bool:
    admission = service._registry.served_models[0].admission
    return admission.load.num_requests == admission.load.num_tokens == service.num_running == 0


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def server(engine: FakeEngine) -> Iterator[Served]:
    with serve(runtime(engine, max_body_bytes=MIB, body_timeout_s=0.3)) as served:
        yield served


def test_request_over_a_socket_is_answered(server: Served) -> None:
    body = ask("fox", "cat")
    with server.connect() as wire:
        wire.sendall(head(len(body)) + body)
        assert status(read_all(wire)) == 200


def test_announced_200_mb_body_is_refused_before_it_is_sent(server: Served) -> None:
    with server.connect() as wire:
        wire.sendall(head(200 * MIB))
        answer = read_all(wire)
    assert status(answer) == 413
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("is_chunked", [True, False])
def test_200_mb_body_is_cut_off_early(server: Served, is_chunked: bool) -> None:
    """The client pushes on regardless; the server reads little more than its limit."""
    chunk = b"x" * 65_536
    frame = b"10000\r\n" + chunk + b"\r\n" if is_chunked else chunk
    num_sent = 0
    with server.connect() as wire:
        wire.sendall(head(None if is_chunked else 200 * MIB))
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while num_sent < 200 * MIB:
                wire.sendall(frame)
                num_sent += len(chunk)
        assert num_sent < 20 * MIB
    wait_until(lambda: idle(server.runtime))


def test_chunked_body_over_the_limit_is_a_413(server: Served) -> None:
    chunk = b"x" * 65_536
    with server.connect() as wire:
        wire.sendall(head(None))
        for _ in range(17):
            wire.sendall(b"10000\r\n" + chunk + b"\r\n")
        assert status(read_all(wire)) == 413


def test_slow_body_is_a_408(server: Served) -> None:
    with server.connect() as wire:
        wire.sendall(head(100) + b"{")
        answer = read_all(wire)  # which gives up after 10 s
    assert status(answer) == 408


def test_body_shorter_than_announced_ends_quietly(server: Served, engine: FakeEngine) -> None:
    with server.connect() as wire:
        wire.sendall(head(100) + b"{")
        wire.shutdown(socket.SHUT_WR)
    wait_until(lambda: idle(server.runtime))
    assert engine.batches == []


@pytest.mark.parametrize(
    "garbage", [b"\0" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"POST /v1/rerank HTTP/9.9\r\n\r\n", b"{}\r\n\r\n"]
)
def test_garbage_gets_a_400_and_the_server_lives_on(server: Served, garbage: bytes) -> None:
    with server.connect() as wire:
        wire.sendall(garbage)
        answer = read_all(wire)
        assert answer == b"" or status(answer) == 400
    test_request_over_a_socket_is_answered(server)


def disconnect(wire: socket.socket, how: str) -> None:
    if how == "reset":
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_disconnect_while_computing_releases_the_permit_and_cancels_later_batches(how: str) -> None:
    engine = GatedEngine()
    with serve(runtime(engine, max_batch_tokens=8, max_model_len=8)) as server:
        wire = server.connect()
        body = ask(*[f"document number {number}" for number in range(20)])
        wire.sendall(head(len(body)) + body)
        wait_until(lambda: len(engine.batches) == 1)
        disconnect(wire, how)
        wait_until(lambda: idle(server.runtime))  # before its first step has ended
        engine.opened.set()
        test_request_over_a_socket_is_answered(server)
        assert queries(engine) == ["red fox"] * 3, "one step for the one that is gone, and one for each document of the other"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_disconnect_while_queued_computes_nothing(how: str) -> None:
    engine = GatedEngine()
    with serve(runtime(engine)) as server:
        first, gone, stays = server.connect(), server.connect(), server.connect()
        for number, (wire, query) in enumerate(((first, "first"), (gone, "gone"), (stays, "stays")), start=1):
            body = ask("document", query=query)
            wire.sendall(head(len(body)) + body)
            wait_until(lambda number=number: server.runtime.num_running == number)  # type: ignore[misc]
            wait_until(lambda: len(engine.batches) == 1)  # the first alone; all others are queued
        disconnect(gone, how)
        wait_until(lambda: server.runtime.num_running == 2)
        engine.opened.set()
        assert status(read_all(first)) == 200
        assert status(read_all(stays)) == 200
        assert queries(engine) == ["first", "stays"]
        wait_until(lambda: idle(server.runtime))
        first.close()
        stays.close()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_disconnect_while_sending_reaches_no_handler(server: Served, engine: FakeEngine, how: str) -> None:
    wire = server.connect()
    wire.sendall(head(1000) + b'{"query": ')
    time.sleep(0.02)
    disconnect(wire, how)
    time.sleep(0.05)
    assert idle(server.runtime)
    assert engine.batches == []


def test_connection_is_kept_for_the_next_request(server: Served) -> None:
    body = ask("fox")
    with server.connect() as wire:
        for _ in range(3):
            wire.sendall(head(len(body)) + body)
            assert status(read_all(wire)) == 200
