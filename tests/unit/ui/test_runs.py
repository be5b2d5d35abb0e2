"""A submitted form becomes requests; every result and every error becomes HTML."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import Any

import httpx2
import pytest

from shortlist.ui import runs
from shortlist.ui.i18n import CHINESE, ENGLISH, Messages
from shortlist.ui.metrics_view import MetricsHistory
from shortlist.ui.runs import compare_run, embed_run, job_run, jobs_run, model_names, rerank_run, status_run
from shortlist.ui.session import Session
from tests.support.forms import compared, typed
from tests.support.script import Answer, ScriptedServer, fault

RANKED = {"model": "m", "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}
BUSY = Answer(429, fault("The queue is full."), {"retry-after": "3"})
GROUPS = "\n".join(f'{{"query": "{name}", "documents": ["a", "b"]}}' for name in ("first", "second", "third"))


@pytest.fixture
def script() -> ScriptedServer:
    server = ScriptedServer()
    server.play(Answer(body=RANKED))
    return server


def session(script: ScriptedServer, messages: Messages = ENGLISH) -> Session:
    return Session(transport=httpx2.ASGITransport(script), messages=messages, url="http://server")


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of each sleep of a run."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.extend([seconds] * (seconds > 0))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept


async def rerank_html(script: ScriptedServer, messages: Messages = ENGLISH, **values: Any) -> list[str]:
    return [html async for html in rerank_run(session(script, messages), typed(**values))]


# -- one question -------------------------------------------------------------------------------------------------------


async def test_ranking_is_announced_and_then_shown(script: ScriptedServer) -> None:
    first, last = await rerank_html(script)
    assert "Ranking 2 documents …" in first
    assert last.index(">b<") < last.index(">a<")
    assert "sl-progress" not in last


async def test_invalid_form_sends_no_request(script: ScriptedServer) -> None:
    [html] = await rerank_html(script, CHINESE, query="")
    assert CHINESE.no_query in html
    assert script.asked == []


async def test_error_of_one_question_is_shown_without_retry(script: ScriptedServer, naps: list[float]) -> None:
    script.play(BUSY)
    assert "The server is busy. Try again in 3 s." in (await rerank_html(script))[-1]
    assert len(script.asked) == 1
    assert naps == []


# -- groups -------------------------------------------------------------------------------------------------------------


async def test_groups_are_ranked_one_after_the_other(script: ScriptedServer) -> None:
    pieces = await rerank_html(script, file_name="f.jsonl", file_text=GROUPS)
    assert [asked.body["query"] for asked in script.asked] == ["first", "second", "third"]
    assert "Ranked 0 of 3 queries …" in pieces[0]
    assert [pieces[-1].count(f"{name}</summary>") for name in ("first", "second", "third")] == [1, 1, 1]


async def test_partial_results_are_shown_during_the_run(script: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "REDRAW_S", 0.0)
    pieces = await rerank_html(script, file_name="f.jsonl", file_text=GROUPS)
    assert ["second</summary>" in piece for piece in pieces] == [False, False, True, True]
    assert "Ranked 2 of 3 queries …" in pieces[2]
    assert "width:66.7%" in pieces[2]


async def test_groups_wait_for_a_busy_server(script: ScriptedServer, naps: list[float]) -> None:
    script.play(Answer(body=RANKED), BUSY, Answer(body=RANKED))
    pieces = await rerank_html(script, file_name="f.jsonl", file_text=GROUPS)
    assert naps == [3]
    assert any("The server is busy; continuing in 3 s …" in piece for piece in pieces)
    assert "third</summary>" in pieces[-1]
    assert len(script.asked) == 4


@pytest.mark.parametrize(
    "refusal", [BUSY, Answer(429, fault("Full."), {"retry-after": "60"}), Answer(500, fault("Broken.", kind="server_error"))]
)
async def test_rankings_before_an_error_are_kept(script: ScriptedServer, refusal: Answer, naps: list[float]) -> None:
    script.play(Answer(body=RANKED), refusal)
    last = (await rerank_html(script, file_name="f.jsonl", file_text=GROUPS))[-1]
    assert 'role="alert"' in last
    assert "first</summary>" in last
    assert "second</summary>" not in last
    assert len(naps) <= runs.MAX_WAITS


# -- the other tabs -----------------------------------------------------------------------------------------------------


async def test_comparison_sends_two_requests_and_draws_the_slope(script: ScriptedServer) -> None:
    asked = compared(query_a="q", query_b="r")
    first, last = [html async for html in compare_run(session(script), asked)]
    assert "Comparing 2 documents …" in first
    assert "sl-slope" in last
    assert len(script.asked) == 2


async def test_invalid_comparison_and_server_errors_show_messages(script: ScriptedServer) -> None:
    [html] = [html async for html in compare_run(session(script), compared(query_a="q"))]
    assert ENGLISH.nothing_to_compare in html
    script.play(Answer(404, fault("No such model.")))
    *_, html = [html async for html in compare_run(session(script), compared(query_a="q", query_b="r"))]
    assert ENGLISH.not_found in html


def vectors(*rows: tuple[float, ...]) -> dict[str, Any]:
    data = [base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode() for row in rows]
    return {"model": "e", "data": [{"index": i, "embedding": each} for i, each in enumerate(data)]}


@pytest.mark.parametrize(("read_as", "input_type"), [("documents", None), ("queries", "query")])
async def test_texts_are_embedded_as_the_chosen_input_type(
    script: ScriptedServer, read_as: str, input_type: str | None
) -> None:
    script.play(Answer(body=vectors((1, 0), (0, 1))))
    values = {"texts": "a\nb", "model": "e", "read_as": read_as}
    first, last = [html async for html in embed_run(session(script), values)]
    assert "Embedding 2 texts …" in first
    assert "sl-heat" in last
    assert script.asked[0].body.get("input_type") == input_type


async def test_missing_texts_and_server_errors_show_messages(script: ScriptedServer) -> None:
    values = {"texts": "a", "model": None, "read_as": None}
    [html] = [html async for html in embed_run(session(script), values)]
    assert ENGLISH.no_texts in html
    script.play(BUSY)
    *_, html = [html async for html in embed_run(session(script), {**values, "texts": "a\nb"})]
    assert "Try again in 3 s" in html
    assert len(script.asked) == 1


async def test_two_samples_of_the_metrics_give_plots(script: ScriptedServer) -> None:
    script.play(Answer(body=b"# TYPE shortlist_ready gauge\nshortlist_ready 1.0\n"))
    history, first = await status_run(session(script), MetricsHistory(), 1.0)
    assert ENGLISH.status_wait in first
    history, second = await status_run(session(script), history, 3.0)
    assert ENGLISH.is_ready in second
    assert len(history.points) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(401, fault("No key.")), ENGLISH.no_key),
        (Answer(404, fault("Not here.")), ENGLISH.not_found),
        (Answer(body=b"<html>"), ENGLISH.broken),
    ],
)
async def test_unavailable_or_malformed_metrics_show_a_message(script: ScriptedServer, answer: Answer, message: str) -> None:
    script.play(answer)
    history, html = await status_run(session(script), MetricsHistory(), 1.0)
    assert message in html
    assert history == MetricsHistory()


async def test_models_are_listed_by_task(script: ScriptedServer) -> None:
    script.play(Answer(body={"data": [{"id": "e", "tasks": ["embed"]}, {"id": "r", "tasks": ["rerank", "embed"]}]}))
    assert await model_names(session(script)) == (["r"], ["e", "r"])


@pytest.mark.parametrize("answer", [Answer(401, fault("No key.")), Answer(500, b"?"), Answer(body=b"{")])
async def test_model_lists_are_empty_on_an_error(script: ScriptedServer, answer: Answer) -> None:
    script.play(answer)
    assert await model_names(session(script)) == ([], [])


# -- jobs ---------------------------------------------------------------------------------------------------------------

JOB = {"id": "job_1", "object": "job", "status": "failed", "path": "/v1/rerank", "created_at": 1, "attempts": 1}
JOBS = Answer(body={"object": "list", "data": [JOB]})
NO_BATCHES = Answer(404, fault("There is nothing at this path.", code="not_found"))


async def test_jobs_are_listed_without_batches_where_there_are_none(script: ScriptedServer) -> None:
    script.play(JOBS, NO_BATCHES)
    assert "job_1" in await jobs_run(session(script), 100.0)
    assert [asked.path for asked in script.asked] == ["/v1/jobs", "/v1/batches"]
    script.play(Answer(503, fault("Redis is gone.", code="jobs_unavailable")))
    assert "sl-alert" in await jobs_run(session(script), 100.0)


async def test_failed_job_shows_its_own_error(script: ScriptedServer) -> None:
    script.play(Answer(body=JOB), Answer(400, fault("It is too long.", code="context_length_exceeded")))
    shown = await job_run(session(script), "result", "job_1")
    assert "Failed: job_1" in shown
    assert "It is too long." in shown


async def test_clicks_at_jobs_do_what_they_say(script: ScriptedServer) -> None:
    done = Answer(body={**JOB, "status": "succeeded"})
    script.play(done, Answer(body=RANKED))
    assert "relevance_score" in await job_run(session(script), "result", "job_1")
    script.play(done)
    assert await job_run(session(script), "cancel", "job_1") == ""
    assert [asked.method for asked in script.asked] == ["GET", "DELETE"]
    script.play(Answer(404, fault("No such batch.", code="not_found")))
    assert "sl-alert" in await job_run(session(script), "cancel", "batch_1")
    assert (script.asked[0].method, script.asked[0].path) == ("POST", "/v1/batches/batch_1/cancel")
    script.play()
    assert "shortlist jobs wait batch_1" in await job_run(session(script), "result", "batch_1")
    assert await job_run(session(script), "close", "") == ""
    assert script.asked == []
