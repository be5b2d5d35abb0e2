"""`rerank_many` over HTTP, against a scripted server and a Shortlist app with a fake engine."""

from __future__ import annotations

import asyncio
import io
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest
from rich.console import Console

from shortlist import errors
from shortlist.client import AsyncClient, Client, Reranked, RerankRequest
from shortlist.client.progress import Bar
from tests.support.apps import runtime
from tests.support.process import serve
from tests.support.script import Answer, ScriptedServer, fault

Many = Callable[..., list[Reranked]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(runtime()) as served:
        yield served.url


@pytest.fixture(params=["sync", "async"])
def many(request: pytest.FixtureRequest, url: str) -> Many:
    """Send many requests with either client."""

    def ask(requests: Any, **kwargs: Any) -> list[Reranked]:
        if request.param == "sync":
            with Client(url) as blocking:
                return list(blocking.rerank_many(requests, **kwargs))

        async def run() -> list[Reranked]:
            async with AsyncClient(url) as waiting:
                return [done async for done in waiting.rerank_many(requests, **kwargs)]

        return asyncio.run(run())

    return ask


def requests_of(count: int) -> list[RerankRequest]:
    return [RerankRequest(query=f"q{number}", documents=[f"a{number}", f"b{number}"], top_n=1) for number in range(count)]


def test_streamed_rankings_equal_single_rankings(many: Many, url: str) -> None:
    with Client(url) as client:
        alone = [client.rerank(each.query, each.documents, top_n=1).results for each in requests_of(20)]
    assert [done.ranking.results for done in many(requests_of(20), concurrency=4)] == alone


def test_results_carry_position_and_request(many: Many) -> None:
    done = many(iter(requests_of(20)), concurrency=4, ordered=False)
    assert sorted(each.position for each in done) == list(range(20))
    assert all(each.request.query == f"q{each.position}" for each in done)
    assert all(each.ranking.results[0].text in each.request.documents for each in done)


def test_failed_request_does_not_stop_the_others(many: Many) -> None:
    first, second, third = many([*requests_of(1), RerankRequest(query="q", documents=[]), *requests_of(1)])
    assert first.ranking.results == third.ranking.results
    assert isinstance(second.answer, errors.InvalidInput)
    with pytest.raises(errors.InvalidInput):
        _ = second.ranking


def test_invalid_request_yields_its_own_error(many: Many) -> None:
    [done] = many([RerankRequest(query="\ud800", documents=["a"])])
    assert isinstance(done.answer, errors.InvalidInput)


def test_rerank_many_sends_the_body_of_rerank() -> None:
    script = ScriptedServer()
    script.play(Answer(body={"model": "m", "results": [{"index": 0, "relevance_score": 0.5}]}))

    async def ask() -> list[Reranked]:
        async with AsyncClient("http://app", transport=httpx2.ASGITransport(script)) as client:
            single_request = RerankRequest(
                query="q", documents=("a",), model="m", instruction="i", top_n=3, return_documents=False
            )
            return [done async for done in client.rerank_many([single_request])]

    [done] = asyncio.run(ask())
    assert done.ranking.results[0].text is None
    assert script.asked[0].body == {
        "query": "q",
        "documents": ["a"],
        "return_documents": False,
        "model": "m",
        "instruction": "i",
        "top_n": 3,
    }


async def test_refused_request_is_retried_after_retry_after() -> None:
    script = ScriptedServer()
    good = Answer(body={"model": "m", "results": [{"index": 0, "relevance_score": 0.5}]})
    script.play(Answer(429, fault("Full."), {"retry-after": "0"}), good)
    async with AsyncClient("http://app", transport=httpx2.ASGITransport(script)) as client:
        done = [each async for each in client.rerank_many([RerankRequest(query="q", documents=["a"])], concurrency=1)]
    assert [each.ranking.model for each in done] == ["m"]
    assert len(script.asked) == 2


def test_infinite_source_is_answered_lazily(url: str) -> None:
    endless = (RerankRequest(query=f"q{number}", documents=["a"]) for number in itertools.count())
    with Client(url) as client, closing(client.rerank_many(endless, concurrency=2)) as answers:
        assert [done.position for done in itertools.islice(answers, 5)] == [0, 1, 2, 3, 4]


async def test_source_may_be_asynchronous(url: str) -> None:
    async def source() -> AsyncIterator[RerankRequest]:
        for each in requests_of(3):
            await asyncio.sleep(0)
            yield each

    async with AsyncClient(url) as client:
        assert [done.position async for done in client.rerank_many(source())] == [0, 1, 2]


# -- the progress bar ------------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_only_on_a_terminal(
    many: Many, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    many(requests_of(3), progress=True)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    many(requests_of(3), progress=True)
    assert "reranking" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    terminal.seek(0)
    terminal.truncate()
    many(requests_of(3))
    assert terminal.getvalue() == ""


def test_bar_counts_without_a_total_and_hides_for_other_output(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Bar("counting [red]", None) as bar:
        bar.advance(7)
        with bar.aside():
            Console(file=terminal).print("a table")
    assert "counting [red]" in terminal.getvalue()
    assert "7" in terminal.getvalue()
    assert "a table\n" in terminal.getvalue()
