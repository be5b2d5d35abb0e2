"""Durable jobs over HTTP: what a client sends and gets, at two servers that share a Redis and a worker."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from shortlist.jobs.job_worker import LEASE_HEADER
from shortlist.jobs.records import JobStore
from tests.support import apps
from tests.support.job_site import JobServer, JobWorker, Site, has_ended, job_site, rerank_body
from tests.support.process import wait_until
from tests.support.redis_server import missing_redis

pytest.importorskip("celery")
if missing := missing_redis():
    pytest.skip(missing, allow_module_level=True)

ASYNC = {"Prefer": "respond-async"}
BODY = rerank_body(0)
KEYS = ("alice", "bob", "pool:worker:worker")
"""Lines of the file of keys: two callers, and a worker."""
VOLATILE = {"date", "content-length", "x-request-id", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time"}
VOLATILE |= {"x-cache-hits"}

Sites = tuple[Site, JobServer, JobServer, JobWorker]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with job_site(tmp_path_factory.mktemp("jobs")) as site:
        (site.folder / "keys").write_text("\n".join(KEYS))
        first, second = [
            site.server(api_key_file=site.folder / "keys", cache_url=site.redis.url, cache_timeout_ms=5000) for _ in range(2)
        ]
        worker = site.worker(first.url, api_key="worker", lease_s=5)
        for each in (first, second):
            each.wait()
        worker.wait()
        yield site, first, second, worker


@pytest.fixture
def alice(sites: Sites) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=sites[1].url, headers={"authorization": "Bearer alice"}, timeout=60) as client:
        yield client


@pytest.fixture
def elsewhere(sites: Sites) -> Iterator[httpx2.Client]:
    """The same caller at the other server."""
    with httpx2.Client(base_url=sites[2].url, headers={"authorization": "Bearer alice"}, timeout=60) as client:
        yield client


@pytest.fixture
def bob(sites: Sites) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=sites[1].url, headers={"authorization": "Bearer bob"}, timeout=60) as client:
        yield client


@contextlib.contextmanager
def frozen(worker: JobWorker) -> Iterator[None]:
    worker.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.signal(signal.SIGCONT)


def ended(client: httpx2.Client, answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == httpx2.codes.ACCEPTED, answer.text
    found: list[dict[str, Any]] = []

    def is_over() -> bool:
        found[:] = [client.get(answer.headers["location"]).json()]
        return has_ended(found[0])

    wait_until(is_over, 60, every_s=0.02)
    return found[0]


def stable(answer: httpx2.Response) -> tuple[int, dict[str, str], Any]:
    """Return an answer without what differs between two equal requests."""
    body = answer.json()
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in {"id", "created", "request_id"}}
    return answer.status_code, {name: value for name, value in answer.headers.items() if name not in VOLATILE}, body


def test_accepted_request_is_answered_with_a_job(alice: httpx2.Client) -> None:
    answer = alice.post("/v1/rerank", json=BODY, headers=ASYNC)
    job = answer.json()
    assert answer.status_code == httpx2.codes.ACCEPTED
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert int(answer.headers["retry-after"]) >= 1
    assert job == {"id": job["id"], "object": "job", "status": "queued", "path": "/v1/rerank", "attempts": 0} | {
        "created_at": job["created_at"]
    }
    assert ended(alice, answer).keys() == job.keys() | {"finished_at"}


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/rerank", BODY, {}),
        ("/v2/rerank", BODY, {}),
        ("/rerank", {"query": "red fox", "texts": ["a red fox", "blue"]}, {}),
        ("/rerank", {"query": "red fox", "documents": ["a red fox", "blue"]}, {}),
        ("/v1/rerank", BODY, {"X-Rerank-Dialect": "voyage"}),
        ("/compat/voyage/v1/rerank", BODY, {}),
        ("/m/fake/v1/embeddings", {"input": ["a red fox"]}, {}),
        ("/v1/embeddings", {"input": "a red fox", "encoding_format": "base64"}, {}),
        ("/score", {"text_1": "red fox", "text_2": ["a red fox", "blue"]}, {}),
        ("/tokenize", {"prompt": "a red fox"}, {}),
    ],
)
def test_result_is_the_answer_that_the_request_would_have_got(
    alice: httpx2.Client, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    job = ended(alice, alice.post(path, json=body, headers={**ASYNC, **headers}))
    assert job["status"] == "succeeded"
    assert stable(alice.get(f"/v1/jobs/{job['id']}/result")) == stable(alice.post(path, json=body, headers=headers))


@pytest.mark.parametrize("path", ["/v1/rerank", "/m/fake/v1/rerank", "/compat/voyage/v1/rerank"])
def test_jobs_path_takes_what_a_path_takes(alice: httpx2.Client, path: str) -> None:
    job = ended(alice, alice.post("/v1/jobs", json={"path": path, "body": BODY}))
    assert stable(alice.get(f"/v1/jobs/{job['id']}/result")) == stable(alice.post(path, json=BODY))


def test_error_that_repeats_is_the_result(alice: httpx2.Client) -> None:
    body = {"query": "q", "documents": ["#fail"]}
    job = ended(alice, alice.post("/v1/rerank", json=body, headers=ASYNC))
    assert (job["status"], job["attempts"]) == ("failed", 3)
    assert stable(alice.get(f"/v1/jobs/{job['id']}/result")) == stable(alice.post("/v1/rerank", json=body))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/rerank", {"query": "q"}, 400),
        ("/v1/rerank", {**BODY, "model": "unknown"}, 404),
        ("/v1/jobs", {"path": "/v1/rerank", "body": {"query": "q"}}, 400),
        ("/v1/jobs", {"path": "/v1/rerank"}, 400),
        ("/v1/jobs", {"path": "/health", "body": {}}, 400),
        ("/v1/jobs", {"path": "/v1/jobs", "body": {}}, 400),
        ("/v1/jobs", {"path": "http://example.com/v1/rerank", "body": BODY}, 400),
        ("/v1/jobs", {"path": "/m/unknown/v1/rerank", "body": BODY}, 404),
        ("/v1/jobs", {"path": "/v1/rerank", "body": BODY, "webhook": {"url": "http://example.com"}}, 400),
    ],
)
def test_wrong_request_is_refused_at_once(alice: httpx2.Client, path: str, body: dict[str, Any], status: int) -> None:
    num_before = len(alice.get("/v1/jobs").json()["data"])
    answer = alice.post(path, json=body, headers=ASYNC)
    assert answer.status_code == status
    assert len(alice.get("/v1/jobs").json()["data"]) == num_before


def test_same_idempotency_key_is_the_same_job_and_another_request_is_refused(
    alice: httpx2.Client, elsewhere: httpx2.Client
) -> None:
    headers = {**ASYNC, "Idempotency-Key": "order-1"}
    first = alice.post("/v1/rerank", json=BODY, headers=headers)
    again = elsewhere.post("/v1/rerank", json=BODY, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    other = alice.post("/v1/rerank", json=rerank_body(1), headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_conflict")
    assert alice.post("/v1/rerank", json=BODY, headers={**ASYNC, "Idempotency-Key": "x" * 300}).status_code == 400


def test_result_that_is_not_there_yet_or_no_longer(sites: Sites, alice: httpx2.Client) -> None:
    with frozen(sites[3]):
        job_id = alice.post("/v1/rerank", json=rerank_body(2), headers=ASYNC).json()["id"]
        early = alice.get(f"/v1/jobs/{job_id}/result")
        assert (early.status_code, early.json()["error"]["code"]) == (409, "not_ready")
        assert int(early.headers["retry-after"]) >= 1
        assert "retry-after" in alice.get(f"/v1/jobs/{job_id}").headers
        assert alice.delete(f"/v1/jobs/{job_id}").json()["status"] == "cancelled"
        assert alice.get(f"/v1/jobs/{job_id}/result").status_code == 410
    done = ended(alice, alice.post("/v1/rerank", json=BODY, headers=ASYNC))
    assert alice.delete(f"/v1/jobs/{done['id']}").json()["status"] == "expired"
    assert alice.get(f"/v1/jobs/{done['id']}/result").status_code == 410
    assert alice.get("/v1/jobs/job_unknown").status_code == 404


def test_other_callers_find_nothing(sites: Sites, alice: httpx2.Client, bob: httpx2.Client) -> None:
    job = ended(alice, alice.post("/v1/rerank", json=BODY, headers=ASYNC))
    path = f"/v1/jobs/{job['id']}"
    for method, suffix in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", "")):
        answer = bob.request(method, path + suffix)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert httpx2.request(method, sites[1].url + path + suffix).status_code == 401
    assert job["id"] not in bob.get("/v1/jobs").text
    assert job["id"] in alice.get("/v1/jobs").text
    assert alice.get(f"{path}/result").status_code == 200


Read = list[tuple[str, str]]


def followed(client: httpx2.Client, job_id: str, after: str = "") -> Read:
    """Follow a job to its end; return the ids and the names of its events."""
    headers = {"Last-Event-ID": after} if after else {}
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
        lines = list(answer.iter_lines())
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
    return list(zip(ids, [line.removeprefix("event: ") for line in lines if line.startswith("event: ")], strict=True))


def test_events_go_on_at_any_server(alice: httpx2.Client, elsewhere: httpx2.Client) -> None:
    job_id = alice.post("/v1/rerank", json=rerank_body(3), headers=ASYNC).json()["id"]
    events = followed(alice, job_id)
    assert [name for _, name in events] == ["queued", "running", "succeeded"]
    assert followed(elsewhere, job_id, events[0][0]) == events[1:]
    assert followed(elsewhere, job_id) == events
    last = {"Last-Event-ID": events[-1][0]}
    assert elsewhere.get(f"/v1/jobs/{job_id}/events", headers=last).status_code == 204
    assert alice.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "first"}).status_code == 400


def test_follower_learns_of_a_cancelled_job(sites: Sites, alice: httpx2.Client, elsewhere: httpx2.Client) -> None:
    with frozen(sites[3]):
        job_id = alice.post("/v1/rerank", json=rerank_body(4), headers=ASYNC).json()["id"]
        with alice.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            lines = answer.iter_lines()
            while next(lines) != "event: queued":
                pass
            elsewhere.delete(f"/v1/jobs/{job_id}")
            assert "event: cancelled" in list(lines)
    [(last, name)] = followed(alice, job_id)
    assert name == "cancelled"
    assert alice.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last}).status_code == 204


def test_prefetch_keeps_no_result_and_the_request_afterwards_computes_nothing(
    alice: httpx2.Client, elsewhere: httpx2.Client
) -> None:
    body = rerank_body(5)
    answer = alice.post("/v1/rerank", json=body, headers={"Prefer": "respond-async, return=minimal"})
    assert answer.headers["preference-applied"] == "respond-async, return=minimal"
    job = ended(alice, answer)
    assert job["status"] == "succeeded"
    assert alice.get(f"/v1/jobs/{job['id']}/result").status_code == 410
    for client in (alice, elsewhere):
        wait_until(lambda client=client: client.post("/v1/rerank", json=body).headers["x-cache-hits"] == "3", 30)  # type: ignore[misc]


def test_metrics_say_what_waits_and_what_ended(sites: Sites, alice: httpx2.Client) -> None:
    with frozen(sites[3]):
        alice.post("/v1/rerank", json=rerank_body(6), headers=ASYNC)

        def has(line: str) -> bool:
            return line in alice.get("/metrics").text.splitlines()

        wait_until(lambda: has("shortlist_jobs_waiting 1.0") and has("shortlist_jobs_up 1.0"), 30)
        assert not has("shortlist_jobs_waiting_tokens 0.0")
    wait_until(lambda: has("shortlist_jobs_waiting 0.0") and has("shortlist_jobs_waiting_tokens 0.0"), 30)
    assert not has('shortlist_jobs_ended_total{status="succeeded"} 0.0')


def test_job_is_charged_once_when_it_is_accepted(sites: Sites) -> None:
    """The worker's own key would be out of requests after the first job."""
    site = sites[0]
    server = site.server(api_key_file=site.folder / "keys", max_requests_per_minute=60)
    server.wait()
    client = httpx2.Client(base_url=server.url, headers={"authorization": "Bearer alice"})
    with frozen(sites[3]), client:
        accepted: list[httpx2.Response] = []
        while (answer := client.post("/v1/rerank", json=rerank_body(len(accepted)), headers=ASYNC)).status_code == 202:
            accepted.append(answer)
        assert answer.status_code == 429
        assert 8 <= len(accepted) <= 14  # a burst of 10 s
        worker = site.worker(server.url, api_key="worker", lease_s=5)
        worker.wait()
        for each in accepted:
            assert ended(client, each)["attempts"] == 1
        worker.kill()
    server.kill()


@pytest.mark.parametrize(("key", "status"), [("bob", 403), ("alice", 403), ("worker", 200)])
async def test_lease_counts_only_with_the_key_of_a_worker(sites: Sites, alice: httpx2.Client, key: str, status: int) -> None:
    """Who reads a token in Redis, and has a key of a caller, does not become another caller."""
    store = JobStore(sites[0].redis.url, doorbell="test", lease_s=60)
    with frozen(sites[3]):
        job_id = alice.post("/v1/rerank", json=rerank_body(7), headers=ASYNC).json()["id"]
        lease = await store.take()
        await store.close()
        assert lease is not None
        assert lease.job.id == job_id
        headers = {"authorization": f"Bearer {key}", LEASE_HEADER: f"{job_id}:{lease.token}"}
        assert httpx2.post(f"{sites[1].url}/v1/rerank", json=BODY, headers=headers).status_code == status
        alice.delete(f"/v1/jobs/{job_id}")


def test_busy_server_gets_jobs_again_later(sites: Sites) -> None:
    """It takes one request at a time: what it refuses with 429 goes back, and comes again."""
    site = sites[0]
    server = site.server(api_key_file=site.folder / "keys", max_concurrent_requests=1, step_s=0.3)
    server.wait()
    client = httpx2.Client(base_url=server.url, headers={"authorization": "Bearer alice"})
    with frozen(sites[3]), client:
        accepted = [client.post("/v1/rerank", json=rerank_body(number), headers=ASYNC) for number in range(100, 104)]
        worker = site.worker(server.url, api_key="worker", lease_s=5, concurrency=4)
        worker.wait()
        jobs = [ended(client, each) for each in accepted]
        assert {job["status"] for job in jobs} == {"succeeded"}
        assert max(job["attempts"] for job in jobs) > 1
        worker.kill()
    server.kill()


async def test_server_without_jobs_answers_now_and_says_what_to_start() -> None:
    async with apps.http(apps.runtime()) as client:
        assert (await client.post("/v1/rerank", json=BODY, headers=ASYNC)).status_code == 200
        for answer in (
            await client.post("/v1/jobs", json={"path": "/v1/rerank", "body": BODY}),
            await client.get("/v1/jobs/job_x"),
        ):
            assert answer.status_code == 404
            assert "--jobs" in answer.json()["error"]["message"]


def test_follower_leaves_when_the_server_stops(sites: Sites) -> None:
    """An open stream must not hold up the end of the server; its reader goes on elsewhere."""
    site = sites[0]
    server = site.server(api_key_file=site.folder / "keys", drain_timeout_s=3600)
    server.wait()
    client = httpx2.Client(base_url=server.url, headers={"authorization": "Bearer alice"}, timeout=60)
    with frozen(sites[3]), client:
        job_id = client.post("/v1/rerank", json=rerank_body(200), headers=ASYNC).json()["id"]
        with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            lines = answer.iter_lines()
            while next(lines) != "event: queued":
                pass
            server.signal(signal.SIGTERM)
            list(lines)
        assert server.process is not None
        assert server.process.wait(timeout=60) == 0
