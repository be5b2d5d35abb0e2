"""`shortlist health`, against servers that are ready, are not, hang, and are not there."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.support.certificates import make
from tests.support.process import finished, launched, start, wait_until
from tests.support.serving import free_port


def test_ready_server_is_healthy_until_it_drains() -> None:
    with launched("tests.support.fakeserver", "--drain-notice-s", "300") as server:
        port = server.url.rpartition(":")[2]
        for done in (
            finished("health", server.url),
            finished("health", f"{server.url}/"),
            finished("health", "--port", port),
            finished("health", SHORTLIST_PORT=port),
        ):
            assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: finished("health", server.url).returncode == 1)
        done = finished("health", server.url)
        assert (done.returncode, done.stdout) == (1, "")
        assert "not ready (status 503)" in done.stderr


def test_certificate_is_not_checked(tmp_path: Path) -> None:
    pair = make(tmp_path, host="elsewhere.example")
    with start("tests.support.fakeserver", "--tls-cert", str(pair.cert), "--tls-key", str(pair.key)) as server:
        address = server.url.replace("http:", "https:")
        wait_until(lambda: finished("health", address).returncode == 0)


def test_port_without_a_server_and_a_server_that_is_none() -> None:
    done = finished("health", "--port", str(free_port()))
    assert (done.returncode, "no server answers" in done.stderr) == (3, True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = finished("health", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert (done.returncode, "no server answers" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://localhost", "http://", "http://localhost:port", "http://localhost:99999"]
)
def test_address_that_is_none_is_invalid_usage(url: str) -> None:
    done = finished("health", url)
    assert (done.returncode, "http://localhost:8080" in " ".join(done.stderr.split())) == (2, True)
