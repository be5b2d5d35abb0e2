"""Servers for the real clients, and the table of their results."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.clients import table
from tests.clients.calls.telling import DOCUMENTS, MODEL, QUERY, TEXTS, Servers
from tests.clients.groups import GROUPS
from tests.clients.verdict import Truth
from tests.support.process import launched, wait_until

KEY: Final = "a-test-key"
NAMES: Final = ("gte-rerank", "embed-english-v3.0", "text-embedding-3-small")
"""Names that a client insists on: LangChain's DashScopeRerank, LlamaIndex's CohereEmbedding, Chroma with dimensions."""
ALIASES: Final = tuple(word for name in NAMES for word in ("--alias", f"{name}={MODEL}"))
RECORD: Final = pytest.StashKey[table.Record]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the document with the table."""
    parser.addoption("--clients-table", metavar="FILE", help="write the table of results between the markers of this document")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """An open server, one with an API key, and one that is always busy."""
    with ExitStack() as served:
        free = served.enter_context(launched("shortlist", "serve", MODEL, "--no-ui", *ALIASES))
        locked = served.enter_context(launched("shortlist", "serve", MODEL, "--no-ui", *ALIASES, "--api-key", KEY))
        busy = served.enter_context(launched("tests.support.busyserver"))
        served.enter_context(_occupied(busy.url))
        yield Servers(free.url, locked.url, busy.url, KEY)


@pytest.fixture(scope="session")
def truth(servers: Servers) -> Truth:
    """The server's answers to plain HTTP requests."""

    def vectors(**how: object) -> list[list[float]]:
        answer = httpx2.post(f"{servers.open}/v1/embeddings", json={"input": TEXTS, "encoding_format": "float", **how})
        return [item["embedding"] for item in answer.raise_for_status().json()["data"]]

    return Truth({None: vectors(), 64: vectors(dimensions=64)})


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> table.Record:
    """The record of all calls for the table."""
    return request.config.stash.setdefault(RECORD, table.Record())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table. With --clients-table, write it if no client is missing."""
    record = config.stash.get(RECORD, table.Record())
    if not record.calls:
        return
    terminalreporter.section("clients")
    for line in table.lines(record.calls):
        terminalreporter.write_line(line)
    path = config.getoption("--clients-table", default=None)
    if not path:
        return
    missing = sorted("/".join(group) for group in {*GROUPS} - record.groups)
    if missing:
        terminalreporter.write_line(f"{path} is not written, because clients are missing: {', '.join(missing)}", red=True)
    else:
        table.write(Path(path), record.calls)


@contextmanager
def _occupied(url: str) -> Iterator[None]:
    """Occupy a server with one request."""
    body = json.dumps({"model": MODEL, "query": QUERY, "documents": DOCUMENTS}).encode()
    header = (
        f"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as connection:
        connection.sendall(header.encode() + body)
        inside = "shortlist_running_requests 2.0"  # the metrics request is the other one
        wait_until(lambda: inside in httpx2.get(f"{url}/metrics").text)
        yield
