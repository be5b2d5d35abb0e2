"""What a worker makes of an answer. What it does with real servers and a real Redis is in tests/faults/test_jobs.py."""

from __future__ import annotations

import httpx2
import pytest

pytest.importorskip("redis")

from shortlist.jobs.doorbells import doorbell
from shortlist.jobs.job import Result
from shortlist.jobs.job_worker import ANSWERED_COST, MAX_DELAY_S, UNANSWERED_COST, Postponed, Worker

DELAY_S = 2.0


@pytest.fixture
def worker() -> Worker:
    url = "redis://127.0.0.1:1/0"
    return Worker(url, doorbell("streams", url), bell_name="streams", server="http://127.0.0.1:1")


@pytest.mark.parametrize("status", [200, 400, 404, 413, 422])
def test_answer_is_the_result_without_the_headers_of_its_connection(worker: Worker, status: int) -> None:
    headers = {"content-type": "application/json", "x-served-model": "m", "date": "today", "x-request-id": "1"}
    found = worker._judged(httpx2.Response(status, headers=headers, content=b"{}"), DELAY_S)
    assert found == Result(status, {"content-type": "application/json", "x-served-model": "m"}, b"{}")


@pytest.mark.parametrize(
    ("status", "retry_after", "body", "delay_s", "cost", "rests"),
    [
        (429, "3", b"", 3.0, 0, True),
        (429, None, b"", DELAY_S, ANSWERED_COST, False),
        (503, "1", b'{"code":"unavailable"}', 1.0, 0, True),
        (503, "1", b'{"code":"engine_unavailable"}', 1.0, UNANSWERED_COST, True),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", b"", MAX_DELAY_S, 0, True),
        (503, "86400", b"", MAX_DELAY_S, 0, True),
        (500, None, b"", DELAY_S, ANSWERED_COST, False),
        (502, None, b"", DELAY_S, ANSWERED_COST, False),
        (401, None, b"", MAX_DELAY_S, 0, True),
        (403, None, b"", MAX_DELAY_S, 0, True),
    ],
)
def test_answer_of_a_server_that_cannot_serve_is_no_result(
    worker: Worker, status: int, retry_after: str | None, body: bytes, delay_s: float, cost: int, rests: bool
) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    found = worker._judged(httpx2.Response(status, headers=headers, content=body), DELAY_S)
    assert isinstance(found, Postponed)
    assert (found.delay_s, found.cost, found.rests) == (delay_s, cost, rests)
