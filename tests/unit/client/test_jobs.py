"""Jobs and batches of both clients over a real socket, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shortlist import errors
from shortlist.client import AsyncClient, Client, EmbedRequest, JobUpdate, RerankRequest, SubmittedJob
from shortlist.client.job_calls import read_any_result
from shortlist.client.job_events import EventFollower
from tests.support.script import Answer, ScriptedServer, fault
from tests.support.serving import serving

REQUEST = RerankRequest(query="q", documents=["a", "b"])
RANKED = {"model": "m", "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.25}]}
JOB = {"id": "job_1", "object": "job", "status": "queued", "path": "/v1/rerank", "created_at": 1_700_000_000, "attempts": 0}
KNOWN: SubmittedJob[Any] = SubmittedJob(
    id="job_1", status="queued", path="/v1/rerank", created_at=0, attempts=0, read=read_any_result
)
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedServer, str]]:
    script = ScriptedServer()
    with serving(script) as url:
        yield script, url


@pytest.fixture
def script(served: tuple[ScriptedServer, str]) -> ScriptedServer:
    return served[0]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, served: tuple[ScriptedServer, str]) -> Ask:
    """Call a client's method by name, through either client, and read what it yields."""

    def call(method: str, *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            with Client(served[1], timeout_s=10.0) as blocking:
                answer = getattr(blocking, method)(*args, **kwargs)
                return list(answer) if isinstance(answer, Iterator) else answer

        async def run() -> Any:
            async with AsyncClient(served[1], timeout_s=10.0) as waiting:
                answer = getattr(waiting, method)(*args, **kwargs)
                return [each async for each in answer] if hasattr(answer, "__aiter__") else await answer

        return asyncio.run(run())

    return call


def event(number: int, status: str, attempts: int = 1) -> bytes:
    data = json.dumps({"id": "job_1", "status": status, "attempts": attempts})
    return f"id: {number}-0\nevent: {status}\ndata: {data}\n\n".encode()


def events(*parts: bytes, is_cut: bool = False) -> Answer:
    """Return a stream of events; one that is cut ends before its length."""
    body = b": following\n\n" + b"".join(parts)
    return Answer(200, body, {"content-type": "text/event-stream"}, promised_bytes=len(body) + 9 if is_cut else None)


# -- jobs ---------------------------------------------------------------------------------------------------------------


def test_request_is_submitted_as_a_job(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(202, JOB))
    job = ask("submit", REQUEST, webhook="https://a.test/hook", idempotency_key="mine")
    assert (job.id, job.status, job.path, job.created_at, job.has_ended) == (
        "job_1",
        "queued",
        "/v1/rerank",
        1_700_000_000,
        False,
    )
    [asked] = script.asked
    assert (asked.method, asked.path, asked.headers["idempotency-key"]) == ("POST", "/v1/jobs", "mine")
    assert asked.body == {
        "path": "/v1/rerank",
        "body": {"query": "q", "documents": ["a", "b"], "return_documents": False},
        "webhook": {"url": "https://a.test/hook"},
    }


def test_texts_are_submitted_to_be_embedded(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(202, {**JOB, "path": "/v1/embeddings"}))
    ask("submit", EmbedRequest(texts=["a"], is_query=True))
    body = {"input": ["a"], "encoding_format": "base64", "input_type": "query"}
    assert script.asked[0].body == {"path": "/v1/embeddings", "body": body}


def test_submission_whose_answer_is_lost_is_sent_again_as_the_same(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(202, JOB, promised_bytes=1000), Answer(503, fault("Wait."), {"retry-after": "0"}), Answer(202, JOB))
    assert ask("submit", REQUEST).id == "job_1"
    keys = [asked.headers["idempotency-key"] for asked in script.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    script.play(Answer(202, JOB))
    ask("submit", REQUEST)
    assert script.asked[0].headers["idempotency-key"] not in keys


def test_request_that_may_not_be_repeated_is_not(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(200, RANKED, promised_bytes=1000))
    with pytest.raises(errors.EngineUnavailable, match="closed before the response was complete"):
        ask("rerank", "q", ["a", "b"])
    assert len(script.asked) == 1


def test_wait_returns_the_result_of_the_request(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(202, JOB))
    job = ask("submit", REQUEST)
    script.play(events(event(1, "queued", 0), event(2, "running"), event(3, "succeeded")), Answer(200, RANKED))
    ranking = ask("wait", job)
    assert [(each.index, each.text) for each in ranking.results] == [(1, "b"), (0, "a")]
    assert [asked.path for asked in script.asked] == ["/v1/jobs/job_1/events", "/v1/jobs/job_1/result"]


def test_wait_raises_the_error_of_the_request(script: ScriptedServer, ask: Ask) -> None:
    script.play(events(event(1, "failed")), Answer(400, fault("Too long.", code="context_length_exceeded")))
    with pytest.raises(errors.InputTooLong, match="Too long"):
        ask("wait", KNOWN)


def test_events_go_on_after_the_last_one(script: ScriptedServer, ask: Ask) -> None:
    script.play(
        events(event(1, "queued", 0), event(2, "running"), is_cut=True),
        Answer(502, b"<html>nginx</html>"),
        Answer(503, fault("Wait."), {"retry-after": "1"}),
        events(),
        events(event(3, "queued"), event(4, "running", 2), b"event: later\ndata: {}\n\n", is_cut=True),
        events(event(5, "succeeded", 2)),
    )
    assert ask("events", KNOWN) == [
        JobUpdate("1-0", "queued", 0),
        JobUpdate("2-0", "running", 1),
        JobUpdate("3-0", "queued", 1),
        JobUpdate("4-0", "running", 2),
        JobUpdate("5-0", "succeeded", 2),
    ]
    assert [asked.headers.get("last-event-id") for asked in script.asked] == [None, *["2-0"] * 4, "4-0"]
    assert {asked.headers["accept"] for asked in script.asked} == {"text/event-stream"}


def test_no_more_events_end_the_following(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(204, b""))
    assert ask("events", KNOWN, after="5-0") == []
    assert [asked.headers["last-event-id"] for asked in script.asked] == ["5-0"]


def test_events_of_an_unknown_job_are_an_error(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(404, fault("There is no such job.", code="not_found")))
    with pytest.raises(errors.NotFound):
        ask("events", KNOWN)


def test_waiting_ends_in_time(script: ScriptedServer, ask: Ask) -> None:
    script.play(events(event(1, "running")))
    with pytest.raises(errors.DeadlineExceeded):
        ask("wait", KNOWN, timeout_s=0.6)


def test_job_is_found_listed_and_cancelled(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(200, {**JOB, "status": "succeeded", "finished_at": 1_700_000_002}))
    job = ask("job", "job_1")
    assert (job.status, job.has_ended, job.finished_at) == ("succeeded", True, 1_700_000_002)
    script.play(Answer(200, RANKED))
    assert ask("result", job) == RANKED
    script.play(Answer(200, {"object": "list", "data": [JOB, {**JOB, "id": "job_2"}]}))
    assert [each.id for each in ask("jobs")] == ["job_1", "job_2"]
    script.play(Answer(200, {**JOB, "status": "cancelled"}))
    ask("cancel", job)
    assert (script.asked[0].method, script.asked[0].path) == ("DELETE", "/v1/jobs/job_1")


def test_secret_of_webhooks_is_read_and_replaced(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(200, {"object": "webhook.secret", "secret": "whsec_a"}))
    assert ask("webhook_secret") == ask("webhook_secret", rotate=True) == "whsec_a"
    assert [asked.method for asked in script.asked] == ["GET", "POST"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_are_read_from_pieces_of_any_size(size: int) -> None:
    stream = b": hello\r\n\r\n" + event(1, "queued", 0).replace(b"\n", b"\r\n") + event(2, "succeeded") + event(3, "failed")
    follower = EventFollower("job_1")
    read = [each for start in range(0, len(stream), size) for each in follower.feed(stream[start : start + size])]
    assert [each.id for each in read] == ["1-0", "2-0"]
    assert follower.has_ended


# -- batches ------------------------------------------------------------------------------------------------------------

FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 9,
    "created_at": 1,
    "expires_at": 2,
    "filename": "batch.jsonl",
    "purpose": "batch",
    "status": "processed",
    "status_details": None,
}
TIMES = ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")


def batch(status: str, completed: int = 0, failed: int = 0, **fields: Any) -> Answer:
    body = {
        "id": "batch_1",
        "object": "batch",
        "endpoint": "/v1/rerank",
        "errors": None,
        "input_file_id": "file-1",
        "completion_window": "24h",
        "status": status,
        "output_file_id": None,
        "error_file_id": None,
        "created_at": 1,
        "expires_at": 2,
        "request_counts": {"total": 3, "completed": completed, "failed": failed},
        "metadata": None,
        **dict.fromkeys(TIMES),
        **fields,
    }
    return Answer(200, body)


def lines(*each: Any) -> Answer:
    return Answer(200, "".join(f"{json.dumps(line)}\n" for line in each).encode())


def line(position: int, status: int = 200, body: Any = RANKED) -> dict[str, Any]:
    response = {"status_code": status, "request_id": f"r-{position}", "body": body}
    return {"id": f"l-{position}", "custom_id": str(position), "response": response, "error": None}


def test_requests_are_computed_as_a_batch(script: ScriptedServer, ask: Ask) -> None:
    unanswered = {"id": "l", "custom_id": "0", "response": None, "error": {"code": "batch_expired", "message": "Too late."}}
    script.play(
        Answer(200, FILE),
        batch("validating"),
        batch("in_progress", 1),
        batch("completed", 1, 2, output_file_id="file-2", error_file_id="file-3"),
        lines(line(2)),
        lines(line(1, 400, fault("Empty.", code="empty_input")), unanswered),
        Answer(200, {}),
    )
    requests = [RerankRequest(query=name, documents=["a", "b"]) for name in "xyz"]
    done = {each.position: each for each in ask("batch", requests)}
    assert done[2].request is requests[2]
    assert (done[2].ranking.results[0].text, done[2].ranking.request_id) == ("b", "r-2")
    with pytest.raises(errors.EmptyInput, match="Empty"):
        _ = done[1].ranking
    with pytest.raises(errors.UpstreamError, match="Too late"):
        _ = done[0].ranking
    upload, create, *_ = script.asked
    assert upload.headers["content-type"].startswith("multipart/form-data; boundary=")
    sent = [json.loads(each) for each in upload.body.split(b"\r\n\r\n")[2].split(b"\r\n")[0].splitlines()]
    assert [each["custom_id"] for each in sent] == ["0", "1", "2"]
    body = {"query": "x", "documents": ["a", "b"], "return_documents": False}
    assert sent[0] == {"custom_id": "0", "method": "POST", "url": "/v1/rerank", "body": body}
    assert create.body == {"input_file_id": "file-1", "endpoint": "/v1/rerank", "completion_window": "24h"}
    assert [(each.method, each.path) for each in script.asked[2:]] == [
        *[("GET", "/v1/batches/batch_1")] * 2,
        ("GET", "/v1/files/file-2/content"),
        ("GET", "/v1/files/file-3/content"),
        *(("DELETE", f"/v1/files/file-{number}") for number in (1, 2, 3)),
    ]


def test_batch_that_is_refused_is_an_error(script: ScriptedServer, ask: Ask) -> None:
    problem = {"code": "invalid_line", "line": 2, "message": "Line 2 is not JSON.", "param": None}
    refused = batch("failed", errors={"object": "list", "data": [problem]})
    script.play(Answer(200, FILE), refused, Answer(200, {}))
    with pytest.raises(errors.InvalidInput, match="Line 2 is not JSON"):
        ask("batch", [REQUEST])
    assert (script.asked[-1].method, script.asked[-1].path) == ("DELETE", "/v1/files/file-1")


def test_batch_that_cannot_be_followed_is_cancelled(script: ScriptedServer, ask: Ask) -> None:
    script.play(Answer(200, FILE), batch("in_progress"), Answer(404, fault("Gone.")), batch("cancelling"), Answer(200, {}))
    with pytest.raises(errors.NotFound):
        ask("batch", [REQUEST])
    assert [asked.path for asked in script.asked[3:]] == ["/v1/batches/batch_1/cancel", "/v1/files/file-1"]


@pytest.mark.parametrize("requests", [[], [REQUEST, EmbedRequest(texts=["a"])]])
def test_batch_is_of_one_kind(ask: Ask, requests: list[Any]) -> None:
    with pytest.raises(errors.InvalidInput, match="all of one kind"):
        ask("batch", requests)


def test_output_that_is_not_one_is_an_error(script: ScriptedServer, ask: Ask) -> None:
    for wrong in ({}, line(7), {**line(0), "custom_id": "a"}, line(-1)):
        script.play(Answer(200, FILE), batch("completed", 1, output_file_id="file-2"), lines(wrong), Answer(200, {}))
        with pytest.raises(errors.UpstreamError, match="output is invalid"):
            ask("batch", [REQUEST])
