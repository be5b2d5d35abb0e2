"""The servers that clients ask, and the table of what came of it."""

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

KEY: Final = "a-key-of-ours"
ALIASES: Final = ("--alias", f"gte-rerank={MODEL}")
"""What LangChain's DashScopeRerank asks for, whatever it is told."""
TOLD: Final = pytest.StashKey[table.Told]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the document to write into."""
    parser.addoption(
        "--clients-table", metavar="FILE", help="write what clients' calls came to between this document's markers"
    )


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """One that is open, one that wants a key, one that is busy for good."""
    with ExitStack() as served:
        free = served.enter_context(launched("shortlist", "serve", MODEL, "--no-ui", *ALIASES))
        locked = served.enter_context(launched("shortlist", "serve", MODEL, "--no-ui", *ALIASES, "--api-key", KEY))
        busy = served.enter_context(launched("tests.support.busyserver"))
        served.enter_context(_occupied(busy.url))
        yield Servers(free.url, locked.url, busy.url, KEY)


@pytest.fixture(scope="session")
def truth(servers: Servers) -> Truth:
    """What it answers when asked by hand."""

    def vectors(**how: object) -> list[list[float]]:
        answer = httpx2.post(f"{servers.open}/v1/embeddings", json={"input": TEXTS, "encoding_format": "float", **how})
        return [item["embedding"] for item in answer.raise_for_status().json()["data"]]

    return Truth({None: vectors(), 64: vectors(dimensions=64)})


@pytest.fixture(scope="session")
def told(request: pytest.FixtureRequest) -> table.Told:
    """Where every call is noted for the table."""
    return request.config.stash.setdefault(TOLD, table.Told())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the table, and write it if asked to and no client is missing."""
    told = config.stash.get(TOLD, table.Told())
    if not told.calls:
        return
    terminalreporter.section("clients")
    for line in table.lines(told.calls):
        terminalreporter.write_line(line)
    path = config.getoption("--clients-table", default=None)
    if not path:
        return
    missing = sorted("/".join(group) for group in {*GROUPS} - told.groups)
    if missing:
        terminalreporter.write_line(f"{path} is left as it is: without {', '.join(missing)} it would not be whole", red=True)
    else:
        table.write(Path(path), told.calls)


@contextmanager
def _occupied(url: str) -> Iterator[None]:
    """Give a server something to do that keeps it from everything else."""
    body = json.dumps({"model": MODEL, "query": QUERY, "documents": DOCUMENTS}).encode()
    head = f"POST /v1/rerank HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as connection:
        connection.sendall(head.encode() + body)
        inside = "shortlist_running_requests 2.0"  # the other one asks for this number
        wait_until(lambda: inside in httpx2.get(f"{url}/metrics").text)
        yield
