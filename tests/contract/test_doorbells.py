"""What every doorbell does, with a listener in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shortlist.jobs.doorbells import DoorbellName, doorbell
from tests.support.certificates import make
from tests.support.process import wait_until
from tests.support.redis_server import RedisServer, missing_redis, redis_server
from tests.support.serving import free_port

pytest.importorskip("celery")
if missing := missing_redis():
    pytest.skip(missing, allow_module_level=True)

NAMES: tuple[DoorbellName, ...] = ("celery", "streams")

LISTEN = """
import sys, time
from shortlist.jobs.doorbells import doorbell
def answer():
    print("ring", flush=True)
    time.sleep(float(sys.argv[3]))
    print("done", flush=True)
doorbell(sys.argv[1], sys.argv[2]).listen(answer, on_stop=lambda: print("stop", flush=True), concurrency=2)
print("end", flush=True)
"""


@dataclass
class Listener:
    process: subprocess.Popen[bytes]
    output: Path

    def heard(self, word: str) -> int:
        return self.output.read_text().split().count(word)

    def waits_for(self, word: str, number: int) -> None:
        wait_until(lambda: self.heard(word) >= number, 60, every_s=0.02)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path, "--appendonly", "yes") as server:
        yield server


def listening(url: str, name: str, folder: Path, *, seconds: float = 0.0) -> Listener:
    output = folder / "heard"
    with output.open("wb") as file:
        command = [sys.executable, "-c", LISTEN, name, url, str(seconds)]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)
    return Listener(process, output)


def end(listener: Listener) -> None:
    listener.process.kill()
    listener.process.wait(timeout=10)


@pytest.mark.parametrize("name", NAMES)
def test_rings_are_answered_before_and_while_a_listener_is_there(
    redis: RedisServer, name: DoorbellName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")  # another program's; the listener inherits it
    bell = doorbell(name, redis.url)
    bell.ring()
    listener = listening(redis.url, name, tmp_path)
    try:
        listener.waits_for("done", 1)
        for number in range(2, 5):
            bell.ring()
            listener.waits_for("done", number)
    finally:
        end(listener)
        bell.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["unix", "rediss"])
def test_rings_come_through_sockets_and_tls(name: DoorbellName, kind: str, tmp_path: Path) -> None:
    certificate = make(tmp_path)
    port = free_port()
    tls = ("--tls-port", str(port), "--tls-cert-file", str(certificate.cert), "--tls-key-file", str(certificate.key))
    trust = ("--tls-auth-clients", "no", "--tls-ca-cert-file", str(certificate.cert))
    arguments = {"unix": ("--unixsocket", str(tmp_path / "socket")), "rediss": (*tls, *trust)}[kind]
    with redis_server(tmp_path, *arguments, password="p@ss:word"):
        secret = "p%40ss%3Aword"
        url = {
            "unix": f"unix://:{secret}@{tmp_path / 'socket'}?db=1",
            "rediss": f"rediss://:{secret}@127.0.0.1:{port}/1?ssl_ca_certs={certificate.cert}",
        }[kind]
        bell = doorbell(name, url)
        listener = listening(url, name, tmp_path)
        try:
            bell.ring()
            listener.waits_for("done", 1)
        finally:
            end(listener)
            bell.close()


def test_celery_verifies_certificates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate = make(tmp_path)
    port = free_port()
    tls = ("--tls-port", str(port), "--tls-cert-file", str(certificate.cert), "--tls-key-file", str(certificate.key))
    with redis_server(tmp_path, *tls, "--tls-auth-clients", "no", "--tls-ca-cert-file", str(certificate.cert)):
        bell = doorbell("celery", f"rediss://127.0.0.1:{port}/0")
        bell.ring()
        bell.close()
    assert "cannot ring" in caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_slots_answer_at_once_and_the_signal_waits_for_them(redis: RedisServer, name: DoorbellName, tmp_path: Path) -> None:
    bell = doorbell(name, redis.url)
    listener = listening(redis.url, name, tmp_path, seconds=3)
    try:
        bell.ring()
        listener.waits_for("ring", 1)
        bell.ring()
        listener.waits_for("ring", 2)
        assert listener.heard("done") == 0
        listener.process.send_signal(signal.SIGTERM)
        assert listener.process.wait(timeout=60) == 0
        assert (listener.heard("done"), listener.heard("stop"), listener.heard("end")) == (2, 1, 1)
    finally:
        end(listener)
        bell.close()


@pytest.mark.parametrize("name", NAMES)
def test_listener_comes_back_when_redis_does(redis: RedisServer, name: DoorbellName, tmp_path: Path) -> None:
    bell = doorbell(name, redis.url)
    listener = listening(redis.url, name, tmp_path)
    try:
        bell.ring()
        listener.waits_for("done", 1)
        redis.kill()
        bell.ring()  # is lost, and says so in the log only
        redis.start()

        def rung() -> bool:
            bell.ring()
            return listener.heard("done") >= 2

        wait_until(rung, 60, every_s=0.5)
    finally:
        end(listener)
        bell.close()
