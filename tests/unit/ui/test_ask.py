"""A filled-in form becomes a call, and whatever happens becomes a sentence."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from shortlist import errors
from shortlist.client import AsyncClient
from shortlist.ui.ask import Connect, FormError, error_html, ranking_html, read_form, reranker_names
from shortlist.ui.text import CHINESE, ENGLISH
from tests.support.script import Answer, ScriptedServer, fault

RANKED = {"model": "m", "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}


@pytest.fixture
def script() -> ScriptedServer:
    server = ScriptedServer()
    server.play(Answer(body=RANKED))
    return server


@pytest.fixture
def connect(script: ScriptedServer) -> Connect:
    transport = httpx2.ASGITransport(script)
    return lambda: AsyncClient("http://server", transport=transport)


def typed(
    query: Any = "q", documents: Any = "a\nb", instruction: Any = "", model: Any = None, top_n: Any = ""
) -> tuple[Any, ...]:
    return (query, documents, instruction, model, top_n)


# -- the form -----------------------------------------------------------------------------------------------------------


def test_lines_become_documents_and_blanks_are_dropped() -> None:
    form = read_form(typed(" q ", "\n a \r\n\n\tb\n   \n"), ENGLISH)
    assert (form.query, form.documents) == ("q", ("a", "b"))
    assert (form.instruction, form.model, form.top_n) == (None, None, None)


def test_only_what_looks_like_a_line_break_is_one() -> None:
    assert read_form(typed(documents="a\u2028b\x0cc"), ENGLISH).documents == ("a\u2028b\x0cc",)


def test_everything_filled_in_is_used() -> None:
    form = read_form(typed("q", "a", " i ", "m", " 3 "), ENGLISH)
    assert (form.instruction, form.model, form.top_n) == ("i", "m", 3)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (typed(query=" "), ENGLISH.no_query),
        (typed(query=None), ENGLISH.no_query),
        (typed(query=["q"]), ENGLISH.no_query),
        (typed(documents="\n \n"), ENGLISH.no_documents),
        (typed(documents={"a": 1}), ENGLISH.no_documents),
        *((typed(top_n=value), ENGLISH.bad_top_n) for value in ("0", "-1", "2.5", "many", "1e3", "9" * 5000)),
    ],
)
def test_form_that_cannot_be_sent_says_what_is_missing(values: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(FormError, match=r".") as caught:
        read_form(values, ENGLISH)
    assert str(caught.value) == sentence


# -- the call -----------------------------------------------------------------------------------------------------------


async def test_form_is_ranked_by_the_server(script: ScriptedServer, connect: Connect) -> None:
    html = await ranking_html(connect, typed("q", "a\nb", "i", "m", "2"), ENGLISH)
    assert html.index(">b<") < html.index(">a<")
    assert script.asked[0].body == {
        "query": "q", "documents": ["a", "b"], "return_documents": False, "instruction": "i", "model": "m", "top_n": 2,
    }  # fmt: skip


async def test_empty_form_never_reaches_the_server(script: ScriptedServer, connect: Connect) -> None:
    html = await ranking_html(connect, typed(query=""), CHINESE)
    assert CHINESE.no_query in html
    assert 'role="alert"' in html
    assert script.asked == []


async def test_refusal_is_shown_as_a_sentence(script: ScriptedServer, connect: Connect) -> None:
    script.play(Answer(429, fault("The queue is full."), {"retry-after": "30"}))
    html = await ranking_html(connect, typed(), ENGLISH)
    assert "The server is busy. Try again in 30 s." in html


async def test_key_that_is_no_key_is_a_sentence_too(script: ScriptedServer) -> None:
    html = await ranking_html(lambda: AsyncClient("http://server", api_key="钥匙"), typed(), ENGLISH)
    assert "API key" in html
    assert script.asked == []


async def test_only_rerankers_are_offered(script: ScriptedServer, connect: Connect) -> None:
    script.play(Answer(body={"data": [{"id": "e", "tasks": ["embed"]}, {"id": "r", "tasks": ["rerank", "embed"]}]}))
    assert await reranker_names(connect) == ["r"]


@pytest.mark.parametrize("answer", [Answer(401, fault("No key.")), Answer(500, b"?"), Answer(body=b"{")])
async def test_no_model_is_offered_when_the_server_does_not_say(
    script: ScriptedServer, connect: Connect, answer: Answer
) -> None:
    script.play(answer)
    assert await reranker_names(connect) == []


# -- sentences ----------------------------------------------------------------------------------------------------------

SENTENCES = [
    (errors.InputTooLong("why"), ENGLISH.too_long),
    (errors.BodyTooLarge("why"), ENGLISH.too_large),
    (errors.Unauthenticated("why"), ENGLISH.no_key),
    (errors.NotFound("why"), ENGLISH.not_found),
    (errors.InvalidInput("why"), ENGLISH.refused),
    (errors.DeadlineExceeded("why"), ENGLISH.too_slow),
    (errors.Draining("why"), ENGLISH.not_ready),
    (errors.EngineUnavailable("why"), ENGLISH.unavailable),
    (errors.EngineError("why"), ENGLISH.broken),
    (errors.UpstreamError("why", is_retryable=False), ENGLISH.broken),
]


@pytest.mark.parametrize(("error", "sentence"), SENTENCES, ids=lambda value: type(value).__name__)
def test_every_error_has_its_sentence_and_the_servers_own_words(error: errors.ServiceError, sentence: str) -> None:
    html = error_html(error, ENGLISH)
    assert f"<strong>{sentence}</strong><small>why</small>" in html


@pytest.mark.parametrize(("asked_s", "shown"), [(0.0, "1"), (2.2, "3"), (1e300, "3600")])
def test_wait_is_a_number_a_person_can_use(asked_s: float, shown: str) -> None:
    assert f"请在 {shown} 秒后重试" in error_html(errors.Overloaded("full", retry_after_s=asked_s), CHINESE)
