"""The process: the port comes first, the address that is shown works, and it ends with the right number."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import httpx2
import pytest
from fastapi import FastAPI

from shortlist import gc_pause, server, ui
from shortlist.config import ServerSettings, Settings
from shortlist.engine.base import Notify
from shortlist.errors import BadSetting, EngineUnavailable, ModelRefused
from shortlist.scheduler.served_model import Expectations
from shortlist.server import bind
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics, logger
from shortlist.types import RERANK, Batch
from tests.support.apps import runtime, served, settings
from tests.support.fake_engine import FakeEngine
from tests.support.oracle import OracleEngine

DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4} INFO +([a-z ]+?)(?= \w+=|$)")

ASK = {"query": "red fox", "documents": ["a cat", "the red fox"]}


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


# -- the port -----------------------------------------------------------------------------------------------------------


def test_port_0_takes_a_free_one() -> None:
    with bind(settings(port=0).server) as listener:
        host, port = listener.getsockname()
    assert host == "127.0.0.1"
    assert port > 0


async def test_answers_leave_at_once() -> None:
    """asyncio turns Nagle's algorithm off only where it can tell that a socket is TCP; with it, an answer's body waits 40 ms."""
    nodelay: list[int] = []

    async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nodelay.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = bind(settings(port=0).server)
    async with await asyncio.start_server(look, sock=listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        assert await reader.read() == b""
        writer.close()
    assert nodelay == [1]


def test_bound_port_refuses_connections_until_the_server_listens() -> None:
    with bind(settings(port=0).server) as listener, pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname(), timeout=5)


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_address_is_taken(host: str) -> None:
    with bind(settings(host=host, port=0).server) as listener:
        assert listener.family is socket.AF_INET6


def test_port_in_use_is_an_error_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BadSetting) as error:
            bind(settings(port=port).server)
    assert error.value.message == (
        f"Another process is already listening on 127.0.0.1:{port}. Choose another with --port or SHORTLIST_PORT."
    )


def test_port_that_was_just_left_can_be_taken_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = first.accept()
            accepted.close()  # the side that closes first waits on its port
    bind(settings(port=port).server).close()


def test_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(BadSetting, match=r"Cannot listen on 203\.0\.113\.1:0 \(--host, --port\): "):
        bind(settings(host="203.0.113.1", port=0).server)


class Refusing(socket.socket):
    """A socket that cannot be bound. `made` lists them all."""

    why = errno.EACCES
    made: list[Refusing]

    def bind(self, address: object) -> NoReturn:
        self.made.append(self)
        raise OSError(self.why, os.strerror(self.why))


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> type[Refusing]:
    Refusing.made = []
    monkeypatch.setattr(socket, "socket", Refusing)
    return Refusing


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (errno.EACCES, "This user may not listen on 127.0.0.1:80. Choose another"),
        (errno.EADDRINUSE, "Another process is already listening on 127.0.0.1:80. Choose another"),
        (errno.EADDRNOTAVAIL, "Cannot listen on 127.0.0.1:80 (--host, --port): "),
    ],
)
def test_socket_that_cannot_be_bound_is_closed_and_explained(refusing: type[Refusing], why: int, words: str) -> None:
    refusing.why = why
    with pytest.raises(BadSetting, match=re.escape(words)):
        bind(settings(port=80).server)
    [listener] = refusing.made
    assert listener.fileno() == -1


def test_unknown_host_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(BadSetting, match=r"nowhere\.invalid:8080 \(--host, --port\): Name or service not known"):
        bind(settings(host="nowhere.invalid").server)


# -- the address that is shown ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://localhost:8080"),
        ("::", "http://localhost:8080"),
        ("", "http://localhost:8080"),
        ("::1", "http://[::1]:8080"),
        ("2001:db8::7", "http://[2001:db8::7]:8080"),
        ("box.example", "http://box.example:8080"),
    ],
)
def test_shown_address_can_be_clicked(host: str, url: str) -> None:
    assert server._url(host, 8080) == url


# -- a whole life -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logger.level
    hooks = threading.excepthook, sys.unraisablehook
    yield
    threading.excepthook, sys.unraisablehook = hooks
    root.handlers[:], root.level, logger.level = before
    logger.setLevel(before[2])


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> list[Runtime]:
    """What is put here is what gets built."""
    prepared: list[Runtime] = []

    def fake(_: Settings, *, notify: Notify) -> Runtime:
        notify("loading [bold]weights[/bold] of [/nowhere] :cat:")
        return prepared.pop()

    monkeypatch.setattr(server, "build_runtime", fake)
    return prepared


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_server_answers_once_ready_and_exits_with_0(build: list[Runtime], capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []

    async def when_ready(url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            asked.append((await client.post(f"{url}/v1/rerank", json=ASK)).status_code)
        stop()

    service = runtime()
    build.append(service)
    assert server.run(settings(port=0, ui=False), when_ready=when_ready) == server.EXIT_STOPPED == 0
    assert asked == [200]
    assert not service.is_ready
    printed = capsys.readouterr().err
    url = re.search(r"ready  fake on (http://127\.0\.0\.1:\d+)\n", printed)
    assert url is not None
    assert f"API   {url[1]}/docs" in printed
    assert "page" not in printed


def test_garbage_collector_ignores_objects_from_the_start(build: list[Runtime]) -> None:
    build.append(runtime())
    passed_over: list[int] = []

    async def when_ready(_: str) -> None:
        passed_over.append(gc.get_freeze_count())
        assert gc.isenabled()
        os.kill(os.getpid(), signal.SIGTERM)

    gc_pause.pause()
    server.run(settings(port=0, ui=False), when_ready=when_ready)
    assert passed_over[0] > 10_000
    assert gc.get_freeze_count() == 0
    assert gc.isenabled()


def test_startup_messages_are_exact(build: list[Runtime], capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics()
    build.append(Runtime([served(name="model[v2][/]", metrics=metrics)], settings=settings(), metrics=metrics))

    async def when_ready(_: str) -> None:
        stop()

    server.run(settings(port=0, ui=False), when_ready=when_ready)
    printed = capsys.readouterr().err
    assert "loading [bold]weights[/bold] of [/nowhere] :cat:" in printed
    assert "ready  model[v2][/] on http" in printed


@pytest.mark.parametrize("style", ["text", "json"])
def test_life_of_a_server_is_logged(build: list[Runtime], capsys: pytest.CaptureFixture[str], style: str) -> None:
    """That nothing else is logged, real processes show: in this one, other tests' servers log, too."""
    build.append(runtime())

    async def when_ready(_: str) -> None:
        stop()

    server.run(settings(port=0, ui=False, log_format=style, drain_notice_s=0.01), when_ready=when_ready)
    lines = capsys.readouterr().err.splitlines()
    if style == "json":
        logged = [json.loads(line)["message"] for line in lines if line.startswith("{")]
    else:
        logged = [found[1] for line in lines if (found := DATED.match(line))]
    expected = ["starting", "ready", "signal", "drain begun", "drain ended", "stopped"]
    assert [each for each in expected if each != "ready" or style == "json"] == [each for each in logged if each in expected]


@pytest.mark.parametrize(
    ("given", "is_warned"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "api_key": ["secret"]}, False),
        ({"host": "127.0.0.1"}, False),
        ({"host": "localhost"}, False),
    ],
    ids=["all addresses", "with a key", "loopback", "localhost"],
)
def test_server_that_is_open_to_other_machines_warns_once(
    build: list[Runtime], capsys: pytest.CaptureFixture[str], given: dict[str, Any], is_warned: bool
) -> None:
    build.append(runtime(**given))

    async def when_ready(_: str) -> None:
        stop()

    assert server.run(settings(port=0, ui=False, **given), when_ready=when_ready) == server.EXIT_STOPPED
    warnings = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(warnings) == is_warned
    assert all("--api-key" in line and "--allowed-host" in line for line in warnings)


async def test_shown_address_keeps_its_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    app = FastAPI()
    app.state.has_page = True
    await server._ready(server.Greeting(is_json=False), app, runtime(), server._url("fe80::1", 80), None)
    assert capsys.readouterr().err.count("http://[fe80::1]:80") == 3


def test_server_whose_engine_dies_ends_with_1(build: list[Runtime]) -> None:
    def fault(_: Batch) -> None:
        raise EngineUnavailable("it died")

    statuses: list[int] = []

    async def when_ready(url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            statuses.append((await client.post(f"{url}/v1/rerank", json=ASK)).status_code)

    build.append(runtime(FakeEngine(fault=fault)))
    assert server.run(settings(port=0, ui=False), when_ready=when_ready) == server.EXIT_ENGINE_DIED == 1
    assert statuses == [503]


def test_port_is_taken_before_anything_is_loaded(build: list[Runtime]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(BadSetting, match="listening"):
        server.run(settings(port=other.getsockname()[1]))  # with nothing to build, building would be an IndexError


def test_port_taken_during_the_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that start at once can both bind; the slower one must say the same as if it had come later."""
    with bind(settings(port=0).server) as faster:
        port = faster.getsockname()[1]

        def overtaken(_: Settings, *, notify: Notify) -> Runtime:
            faster.listen()
            return runtime(port=port)

        monkeypatch.setattr(server, "build_runtime", overtaken)
        with pytest.raises(BadSetting, match=f"listening on 127.0.0.1:{port}"):
            server.run(settings(port=port, ui=False))


def test_model_that_fails_its_self_test_is_refused_and_freed_before_the_port_opens(build: list[Runtime]) -> None:
    engine = OracleEngine(scores=lambda scores: [-score for score in scores])
    metrics = Metrics()
    served_models = [
        served(engine, metrics=metrics, operations=frozenset({RERANK}), expectations=Expectations(understands=True))
    ]
    build.append(Runtime(served_models, settings=settings(self_test="strict"), metrics=metrics))

    async def when_ready(_: str) -> NoReturn:
        pytest.fail("it was served")

    with pytest.raises(ModelRefused, match="meaning"):
        server.run(settings(port=0, ui=False), when_ready=when_ready)
    assert engine.is_closed


def test_port_is_given_back_when_loading_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    ports: list[int] = []
    take = server.bind

    def remember(asked: ServerSettings) -> socket.socket:
        listener = take(asked)
        ports.append(listener.getsockname()[1])
        return listener

    def refuse(_: Settings, *, notify: Notify) -> NoReturn:
        raise ModelRefused("no such model")

    monkeypatch.setattr(server, "bind", remember)
    monkeypatch.setattr(server, "build_runtime", refuse)
    with pytest.raises(ModelRefused):
        server.run(settings(port=0))
    with socket.create_server(("127.0.0.1", ports[0])):
        pass


def test_page_is_mounted_if_enabled_and_installed(
    build: list[Runtime], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mounted: list[str] = []

    def mount(_: object, *, path: str, **_more: object) -> None:
        mounted.append(path)

    async def when_ready(_: str) -> None:
        await asyncio.sleep(0)
        stop()

    monkeypatch.setattr(ui, "mount_page", mount)
    for is_available in (True, False):
        monkeypatch.setattr(ui, "is_available", lambda found=is_available: found)
        for wanted in (True, False):
            build.append(runtime())
            server.run(settings(port=0, ui=wanted), when_ready=when_ready)
            assert ("/ui" in capsys.readouterr().err) is (is_available and wanted)
    assert mounted == ["/ui"]
