"""The first ranking that a newcomer sees, or one line that says why there is none."""

from __future__ import annotations

import io
import socket

import pytest
from rich.console import Console

from shortlist import demo
from shortlist.client import Ranking
from shortlist.client.results import RankedText
from shortlist.types import EMBED
from tests.support.apps import runtime, served
from tests.support.process import serve


def ranking(*results: RankedText) -> Ranking:
    return Ranking(model="demo", results=list(results), truncated=[], failed=[], num_tokens=1)


def shown(given: Ranking, *, width: int = 100) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(demo.table(given))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_table_shows_question_scores_and_documents_best_first() -> None:
    lines = shown(ranking(RankedText(1, 0.91234, "open the file"), RankedText(0, 0.0, "bake bread")))
    assert lines[0] == f'"{demo.QUERY}"'
    assert lines[1].split() == ["score", "document"]
    assert lines[2].startswith("0.912")
    assert lines[2].endswith("open the file")
    assert lines[3].startswith("0.000")
    assert lines[3].endswith("bake bread")


def test_bar_is_as_long_as_the_score() -> None:
    full, half, none = (line.count("━") for line in shown(ranking(*(RankedText(0, score, "d") for score in (1, 0.5, 0))))[2:])
    assert (full, none) == (20, 0)
    assert half in {9, 10}


@pytest.fixture(autouse=True)
def _no_proxy_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


async def test_running_server_is_asked_and_its_answer_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(runtime()) as server:
        await demo.show(server.url)
    printed = capsys.readouterr().err
    assert all(document in printed for document in demo.DOCUMENTS)


async def test_locked_server_is_asked_with_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(runtime(api_key=["open sesame"])) as server:
        await demo.show(server.url, api_key="open sesame")
    assert demo.DOCUMENTS[0] in capsys.readouterr().err


async def test_own_port_is_not_asked_of_a_proxy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, serve(runtime()) as server:
        proxy.settimeout(0)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        await demo.show(server.url)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert demo.DOCUMENTS[0] in capsys.readouterr().err


async def test_server_that_does_not_rank_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    service = runtime()
    service._registry.served_models = [served(name="[bold]only", operations=frozenset({EMBED}))]
    with serve(service) as server:
        await demo.show(server.url)
    assert capsys.readouterr().err == "The demo request failed: No model here can rerank. Served here: [bold]only.\n"


async def test_wrong_key_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(runtime(api_key=["right"])) as server:
        await demo.show(server.url, api_key="wrong")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("The demo request failed: The API key is missing or wrong.")
