"""`rank` parses the server's answer with scores, passages and cache hits, or raises an error."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from shortlist.client import NotRanked, TimingMs
from shortlist.errors import EngineError, UpstreamError
from shortlist.ui.answers import PageRanking, Passage, RankedDocument, rank, rank_both
from shortlist.ui.form import Question
from shortlist.ui.i18n import ENGLISH
from shortlist.ui.session import Session
from tests.support.script import Answer, ScriptedServer, fault

QUESTION = Question(query="q", documents=("a", "b", "c"), top_n=2)
BARE: dict[str, Any] = {"model": "m", "results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def session(server: ScriptedServer) -> Session:
    return Session(transport=httpx2.ASGITransport(server), messages=ENGLISH)


async def test_request_asks_for_logits_and_no_documents(server: ScriptedServer, session: Session) -> None:
    server.play(Answer(body=BARE))
    await rank(session, QUESTION)
    assert server.asked[0].body == {**QUESTION.body, "return_documents": False, "return_logits": True}


async def test_all_fields_of_the_answer_are_parsed(server: ScriptedServer, session: Session) -> None:
    body = {
        **BARE,
        "logits": [2.5, -1.0],
        "truncated_documents": [0],
        "chunked_documents": [{"index": 2, "num_chunks": 3, "best_chunk": {"start": 4, "end": 9}}],
        "failed_documents": [{"index": 1, "message": "It did not fit."}],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
        "meta": {"new": "things are no error"},
    }
    times = {"x-total-time": "9", "x-tokenization-time": "1", "x-queue-time": "2", "x-inference-time": "5"}
    server.play(Answer(body=body, headers={**times, "x-cache-hits": "2"}))
    assert await rank(session, QUESTION) == PageRanking(
        question=QUESTION,
        model="m",
        results=(
            RankedDocument(index=2, score=0.9, text="c", raw_score=2.5, passage=Passage(4, 9, 3)),
            RankedDocument(index=0, score=0.1, text="a", raw_score=-1.0, is_truncated=True),
        ),
        failed=(NotRanked(1, "It did not fit."),),
        num_tokens=7,
        num_cached=2,
        timing_ms=TimingMs(9, 1, 2, 5),
    )


async def test_absent_fields_of_the_answer_are_none(server: ScriptedServer, session: Session) -> None:
    server.play(Answer(body=BARE, headers={"x-total-time": "soon"}))
    answer = await rank(session, QUESTION)
    assert [result.raw_score for result in answer.results] == [None, None]
    assert (answer.num_cached, answer.timing_ms) == (None, TimingMs())


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        {},
        {"model": "m", "results": [{"index": 0}]},
        {"model": "m", "results": [{"index": 7, "relevance_score": 1}]},
        {**BARE, "logits": [1.0]},
    ],
)
async def test_malformed_answer_raises_upstream_error(server: ScriptedServer, session: Session, body: Any) -> None:
    server.play(Answer(body=body))
    with pytest.raises(UpstreamError, match="response is invalid"):
        await rank(session, QUESTION)


async def test_rank_both_sends_both_requests(server: ScriptedServer, session: Session) -> None:
    server.play(Answer(body=BARE))
    other = Question(query="r", documents=QUESTION.documents)
    left, right = await rank_both(session, QUESTION, other)
    assert (left.question, right.question) == (QUESTION, other)
    assert {asked.body["query"] for asked in server.asked} == {"q", "r"}


async def test_error_of_one_ranking_is_raised(server: ScriptedServer, session: Session) -> None:
    server.play(Answer(body=BARE), Answer(500, fault("It failed.", kind="server_error")))
    with pytest.raises(EngineError, match=r"It failed\."):
        await rank_both(session, QUESTION, QUESTION)
