"""A server that sends traces, as a process: its last ones go out when it is stopped, and a slow collector does not delay it."""

from __future__ import annotations

import signal
import socket
import time

import httpx2

from tests.support.collector import collecting
from tests.support.process import Launched, launched

ASK = {"query": "canary", "documents": ["a", "b"]}


def stopped(server: Launched) -> float:
    """Stop a server as its supervisor does; return how long it took to end, with 0."""
    server.process.send_signal(signal.SIGTERM)
    started_s = time.monotonic()
    assert server.process.wait(timeout=60) == 0, server.log()
    return time.monotonic() - started_s


def test_last_traces_go_out_when_the_server_is_stopped() -> None:
    with collecting() as collector, launched("tests.support.fakeserver", "--otlp-endpoint", collector.url) as server:
        with httpx2.Client(base_url=server.url) as client:
            for number in range(10):
                body = {**ASK, "query": f"canary {number}"}
                assert client.post("/v1/rerank", json=body).status_code == httpx2.codes.OK
        stopped(server)
        names = [span.name for span in collector.spans]
        assert (names.count("POST /v1/rerank"), names.count("inference")) == (10, 10)
        assert b"canary" not in b"".join(collector.bodies)
        assert "canary" not in server.log()


def test_collector_that_never_answers_holds_up_neither_requests_nor_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with launched("tests.support.fakeserver", "--otlp-endpoint", endpoint) as server:
            with httpx2.Client(base_url=server.url, timeout=5) as client:
                for number in range(200):
                    body = {**ASK, "query": f"{number}"}
                    assert client.post("/v1/rerank", json=body).status_code == httpx2.codes.OK
            assert stopped(server) < 30
            assert server.log().count("trace collector failing") == 1
            assert "opentelemetry" not in server.log()
