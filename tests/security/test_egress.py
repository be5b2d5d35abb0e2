"""No connection to a host that was not configured: not at the start, not for the page, not for an answer, not at the end."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from shortlist import ui
from tests.support.hub_server import HubServer
from tests.support.hub_server import running as hub_running
from tests.support.process import Launched, launched
from tests.support.redis_server import missing_redis, redis_server

GUARD = Path("tests/support/guard").resolve()
ASK = {"query": "how do I read a json file in python", "documents": ["bake bread", "call json.load"]}


@dataclass(frozen=True)
class Guarded:
    """A server process that cannot get out of this machine, and the list of what it tried."""

    server: Launched
    log: Path

    def attempts(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""


def environment(folder: Path) -> dict[str, str]:
    """Return the guard, and a home where no library has been before; nothing that would tell one to be quiet."""
    return {
        "PYTHONPATH": os.pathsep.join([str(GUARD), *map(os.path.abspath, ("src", "."))]),
        "GUARD_LOG": str(folder / "attempts"),
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "",
        "HF_HUB_DISABLE_TELEMETRY": "",
        "DO_NOT_TRACK": "",
        "GRADIO_ANALYTICS_ENABLED": "True",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://203.0.113.1:4318",
        "OTEL_TRACES_EXPORTER": "otlp",
        "MODELSCOPE_CACHE": str(folder / "modelscope"),
    }


@contextlib.contextmanager
def guarded(folder: Path, *arguments: str) -> Iterator[Guarded]:
    with launched(*arguments, **environment(folder)) as server:
        yield Guarded(server, folder / "attempts")


def test_egress_guard_detects_and_blocks_outgoing_connections(tmp_path: Path) -> None:
    code = (
        "import asyncio, socket, urllib.request\n"
        "for call in (lambda: socket.create_connection(('203.0.113.1', 9)), lambda: socket.getaddrinfo('example.org', 1),\n"
        "             lambda: urllib.request.urlopen('http://example.org'), lambda: socket.gethostbyname('example.org'),\n"
        "             lambda: asyncio.run(asyncio.open_connection('203.0.113.2', 9))):\n"
        "    try: call()\n"
        "    except OSError: continue\n"
        "    raise SystemExit('it got out')\n"
        "here = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(here.getsockname())\n"
    )
    environ = {**os.environ, **environment(tmp_path)}  # noqa: TID251
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    noted = (tmp_path / "attempts").read_text()
    assert noted.count("example.org'") >= 3
    assert "203.0.113.1" in noted
    assert "203.0.113.2" in noted
    assert "127.0.0.1" not in noted


def test_server_opens_no_unexpected_connection(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="sentence_transformers is not installed")
    with (
        guarded(tmp_path, "shortlist", "serve", "demo") as running,
        httpx2.Client(base_url=running.server.url, timeout=60) as client,
    ):
        assert client.post("/v1/rerank", json=ASK).status_code == httpx2.codes.OK
        assert client.post("/v1/embeddings", json={"input": ["a"]}).status_code == httpx2.codes.OK
        page = ("/ui/", "/ui/config") if ui.is_available() else ()
        for path in ("/docs", "/openapi.json", "/metrics", "/v1/models", *page):
            assert client.get(path).status_code == httpx2.codes.OK, path
        running.server.process.send_signal(signal.SIGTERM)
        assert running.server.process.wait(timeout=30) == 0
        assert running.attempts() == ""


@pytest.fixture
def jobs_flags(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Flags with which a server takes jobs, and webhooks to one host; none where there is no Redis."""
    if missing_redis() is not None or importlib.util.find_spec("redis") is None:
        yield ()
        return
    with redis_server(tmp_path, "--appendonly", "yes") as redis:
        yield ("--jobs", redis.url, "--job-doorbell", "streams", "--webhook-target", "hooks.example.org")


def test_no_field_of_a_request_is_an_address_for_a_server(tmp_path: Path, jobs_flags: tuple[str, ...]) -> None:
    """Webhooks are sent by workers, and to stated hosts only; a server that accepts one connects to nothing."""
    where = "http://203.0.113.1/"
    with (
        guarded(tmp_path, "tests.support.fakeserver", *jobs_flags) as running,
        httpx2.Client(base_url=running.server.url) as client,
    ):
        for hook, status in ((where, 400), ("https://hooks.example.org/", 202)) if jobs_flags else ():
            job = {"path": "/v1/rerank", "body": ASK, "webhook": {"url": hook}}
            assert client.post("/v1/jobs", json=job).status_code == status
        for field in ("model", "query", "instruction", "user", "url", "callback"):
            for documents in ([where], [{"text": "b", "url": where}], where):
                client.post("/v1/rerank", json={**ASK, "documents": documents, field: where})
        client.post("/v1/embeddings", json={"input": [where, "file:///etc/passwd"]})
        assert running.attempts() == ""


def test_hub_is_asked_for_the_model_and_for_nothing_else(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights"}
    code = "from shortlist.hub.huggingface import fetch; fetch('owner/model', None, lambda *_: None)"
    with hub_running(HubServer(models={"owner/model": files})) as hub:
        environ = {**os.environ, **environment(tmp_path), "HF_ENDPOINT": hub.url}  # noqa: TID251
        done = subprocess.run(
            [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        asked = {request.path for request in hub.requests}
    assert any(path.endswith("model.safetensors") for path in asked)
    assert all(path.startswith(("/api/models/owner/model/", "/owner/model/resolve/")) for path in asked), asked
    assert not (tmp_path / "attempts").exists()
