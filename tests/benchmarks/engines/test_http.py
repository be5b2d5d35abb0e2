"""Tests a server with /v1/rerank as a contender; start errors and wrong answers are one-line errors."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.engines.http import _filled
from benchmarks.engines.memory import members
from benchmarks.engines.process import ContenderProcess, Spec
from benchmarks.engines.protocol import Ready
from shortlist.bench.texts import LoadRequest
from shortlist.errors import UpstreamError
from tests.support.process import wait_until

REQUEST = LoadRequest("q", ("one", "two two", "three"))

SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
port, how, journal = int(sys.argv[1]), sys.argv[2], open(sys.argv[3], "a")
num_gets = 0

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        global num_gets
        num_gets += 1
        if self.path == "/version" and how != "bare":
            self.answer(200, {"version": "1.2"})
        elif self.path == "/health" and how == "health":
            self.answer(200 if num_gets > 4 else 503, {})
        elif self.path == "/ready" and how != "health":
            self.answer(200, {})
        else:
            self.answer(404, {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        print(json.dumps([self.client_address[1], self.path, asked]), file=journal, flush=True)
        results = [{"index": n, "relevance_score": len(d) / 10} for n, d in enumerate(asked["documents"])][::-1]
        if how == "dying":
            os._exit(3)
        if how == "refusing":
            self.answer(429, {"error": "full"})
        else:
            self.answer(200, {"results": results[1:] if how == "short" else results})

    def log_message(self, *arguments):
        print("noise")

HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@contextmanager
def serving(behaviour: str, journal: Path) -> Iterator[tuple[ContenderProcess, Ready]]:
    program = shlex.join([sys.executable, "-c", SERVER])
    command = f"{program} {{port}} {behaviour} {shlex.quote(str(journal))}"
    flags = ("--server", command, "--name", "other", "--dtype", "float16")
    contender = ContenderProcess(Spec("peer", (sys.executable, "-m", "benchmarks.engines.http", *flags)), ("folder",))
    try:
        yield contender, contender.wait_ready(60)
    finally:
        contender.close(timeout_s=10)


def test_results_are_in_document_order_over_one_connection(journal: Path) -> None:
    with serving("healthy", journal) as (contender, ready):
        for _ in range(3):
            assert contender.ask(REQUEST, 10)[0] == [0.3, 0.7, 0.5]
    assert ready == Ready(name="other", version="other 1.2", dtype="float16", at_once=16)
    requests = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len({port for port, _, _ in requests}) == 1
    assert {path for _, path, _ in requests} == {"/v1/rerank"}
    assert requests[0][2] == {"query": "q", "documents": list(REQUEST.documents), "return_documents": False}


@pytest.mark.parametrize(("behaviour", "version"), [("health", "other 1.2"), ("bare", "other")])
def test_servers_without_ready_or_version_paths_work(journal: Path, behaviour: str, version: str) -> None:
    with serving(behaviour, journal) as (contender, ready):
        assert ready.version == version
        assert contender.ask(REQUEST, 10)[0] == [0.3, 0.7, 0.5]


@pytest.mark.parametrize(
    ("behaviour", "message"), [("refusing", "status 429"), ("short", "scored 2 of 3 documents"), ("dying", "cannot be reached")]
)
def test_failed_request_is_a_one_line_error(journal: Path, behaviour: str, message: str) -> None:
    with serving(behaviour, journal) as (contender, _), pytest.raises(UpstreamError, match=message):
        contender.ask(REQUEST, 10)


def test_server_ends_with_the_contender(journal: Path) -> None:
    with serving("healthy", journal) as (contender, _):
        processes = members(contender._process.pid)
        assert len(processes) == 2
    wait_until(lambda: not any((Path("/proc") / str(pid) / "exe").exists() for pid in processes))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/no/server", "No such file or directory"),
        (f"{sys.executable} -c 'exit(5)'", "exited with code 5 before it was ready"),
    ],
)
def test_server_that_does_not_start_is_a_one_line_error(command: str, message: str) -> None:
    contender = ContenderProcess(
        Spec("peer", (sys.executable, "-m", "benchmarks.engines.http", "--server", command)), ("folder",)
    )
    try:
        with pytest.raises(UpstreamError, match=message):
            contender.wait_ready(60)
    finally:
        contender.close(timeout_s=5)


def test_placeholders_are_replaced_after_splitting() -> None:
    values = {"{model}": "/a folder/with 'quotes'", "{port}": "7"}
    assert _filled("serve {model} --port={port} '{other}'", values) == [
        "serve",
        "/a folder/with 'quotes'",
        "--port=7",
        "{other}",
    ]
