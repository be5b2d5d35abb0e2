"""Webhooks as a user has them: a server, a worker, a receiver, and the library of the standard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from tests.jobs.conftest import http_client
from tests.support.hook_receiver import HookReceiver, Reply, hook_receiver
from tests.support.job_site import JobServer
from tests.support.process import wait_until

RERANK = {"query": "bread", "documents": ["trains", "bread"]}


@pytest.fixture(scope="module")
def receiver() -> Iterator[HookReceiver]:
    with hook_receiver() as running:
        yield running


class Caller:
    """A caller with a key."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    def submit(self, hook: str, body: Any = RERANK) -> httpx2.Response:
        return self._http.post("/v1/jobs", json={"path": "/v1/rerank", "body": body, "webhook": {"url": hook}})

    def get(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()

    def metrics(self) -> str:
        return self._http.get("/metrics").raise_for_status().text

    def secret(self, *, rotate: bool = False) -> str:
        answer = self._http.request("POST" if rotate else "GET", "/v1/webhooks/secret").raise_for_status()
        assert answer.headers["cache-control"] == "no-store"
        return str(answer.json()["secret"])


@pytest.fixture(scope="module")
def callers(site: JobServer) -> Iterator[dict[str, Caller]]:
    with ExitStack() as clients:
        yield {name: Caller(clients.enter_context(http_client(site, f"key-of-{name}"))) for name in "ab"}


def test_only_keys_that_write_see_the_secret(site: JobServer) -> None:
    for key, status in (("reader-of-b", 403), ("key-of-c", 403), ("key-of-b", 200)):
        with http_client(site, key) as client:
            assert client.get("/v1/webhooks/secret").status_code == status


@pytest.fixture(scope="module")
def caller(callers: dict[str, Caller]) -> Caller:
    return callers["a"]


def test_end_of_a_job_is_sent_with_its_result(caller: Caller, receiver: HookReceiver) -> None:
    receiver.play(Reply())
    accepted = caller.submit(f"{receiver.url}/hook")
    assert accepted.status_code == 202
    job = accepted.json()
    assert job["webhook"] == {"url": f"{receiver.url}/hook", "status": "waiting", "attempts": 0}
    [received] = receiver.wait_for(1)
    sent = Webhook(caller.secret()).verify(received.body, dict(received.headers))
    assert (sent["type"], received.headers["webhook-id"]) == ("job.succeeded", job["id"])
    path = f"/v1/jobs/{job['id']}"
    wait_until(lambda: caller.get(path)["webhook"]["status"] == "delivered", 20)
    described = caller.get(path)
    assert described.pop("webhook") == {
        "url": f"{receiver.url}/hook",
        "status": "delivered",
        "attempts": 1,
        "reason": "status 204",
    }
    assert sent["data"] == {**described, "result": {"status": 200, "body": caller.get(f"{path}/result")}}


def test_failed_requests_are_told_too(caller: Caller, receiver: HookReceiver) -> None:
    receiver.play(Reply())
    accepted = caller.submit(receiver.url, {**RERANK, "documents": ["a " * 20_000], "on_overflow": "error"})
    assert accepted.status_code == 202
    sent = json.loads(receiver.wait_for(1)[0].body)
    assert (sent["type"], sent["data"]["result"]["status"]) == ("job.failed", 400)
    assert sent["data"]["result"]["body"]["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/", "https://10.0.0.1/", "http://[::1]/", "https://example.com/", "file:///etc/passwd", ""],
)
def test_other_targets_are_refused_at_once(caller: Caller, url: str) -> None:
    refused = caller.submit(url)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "webhook.url"


def test_secrets_are_those_of_the_caller(callers: dict[str, Caller], caller: Caller, receiver: HookReceiver) -> None:
    old, other = caller.secret(), callers["b"].secret()
    new = caller.secret(rotate=True)
    assert len({old, new, other}) == 3
    assert caller.secret() == new
    receiver.play(Reply())
    caller.submit(receiver.url)
    [received] = receiver.wait_for(1)
    for secret in (old, new):
        Webhook(secret).verify(received.body, dict(received.headers))


def test_deliveries_are_counted(caller: Caller) -> None:
    def value(series: str) -> float:
        return float(re.search(rf"^{re.escape(series)} (\S+)$", caller.metrics(), re.MULTILINE)[1])  # type: ignore[index]

    wait_until(lambda: value('shortlist_jobs_webhook_attempts_total{outcome="delivered"}') >= 3, 20)
    assert value("shortlist_jobs_webhooks_given_up_total") == 0
    assert value("shortlist_jobs_webhooks_waiting") + value("shortlist_jobs_webhooks_oldest_seconds") >= 0
