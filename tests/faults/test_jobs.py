"""Jobs with real processes that are killed, frozen and cut off: what was accepted ends, once, with the answer it would have got."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shortlist.jobs.records import JobStore
from tests.support.job_site import Site, has_ended, job_site, rerank_body, submitted, wait_for
from tests.support.process import wait_until
from tests.support.redis_server import missing_redis

pytest.importorskip("celery")
if missing := missing_redis():
    pytest.skip(missing, allow_module_level=True)

NUM_KILLS = int(os.environ.get("JOB_KILLS", "20"))  # noqa: TID251 - make soak-jobs
LEASE_S = 2.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with job_site(tmp_path) as site:
        yield site


def result_of(url: str, job_id: str) -> Any:
    answer = httpx2.get(f"{url}/v1/jobs/{job_id}/result")
    assert answer.status_code == httpx2.codes.OK, answer.text
    return answer.json()["results"]


def synchronous(url: str, body: dict[str, Any]) -> Any:
    return httpx2.post(f"{url}/v1/rerank", json=body).json()["results"]


def events_of(site: Site, *job_ids: str) -> list[list[tuple[int, str]]]:
    """Return the changes of each job, with Redis' own time in ms."""

    async def read() -> list[list[tuple[int, str]]]:
        store = JobStore(site.redis.url, doorbell="test")
        try:
            found = [await store.events(job_id) for job_id in job_ids]
        finally:
            await store.close()
        return [[(int(event.id.partition("-")[0]), event.status.value) for event in events] for events in found]

    return asyncio.run(read())


def totals(site: Site) -> dict[str, int]:
    async def read() -> dict[str, int]:
        store = JobStore(site.redis.url, doorbell="test")
        try:
            swept = await store.sweep()
        finally:
            await store.close()
        assert (swept.num_waiting, swept.num_running, swept.num_waiting_tokens) == (0, 0, 0)
        return dict(swept.counts)

    return asyncio.run(read())


class Submitter(threading.Thread):
    """Submits jobs until stopped, each until it is acknowledged: under one idempotency key, at any server that answers."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(daemon=True)
        self.urls = urls
        self.accepted: dict[str, int] = {}
        self.statuses: set[int] = set()
        self.is_over = threading.Event()

    def run(self) -> None:
        number = 0
        with httpx2.Client(timeout=10) as client:
            while not self.is_over.wait(0.1):
                number += 1
                self._submit(client, number)

    def _submit(self, client: httpx2.Client, number: int) -> None:
        headers = {"Prefer": "respond-async", "Idempotency-Key": uuid.uuid4().hex}
        while True:
            try:
                answer = client.post(f"{random.choice(self.urls)}/v1/rerank", json=rerank_body(number), headers=headers)
            except httpx2.TransportError:
                time.sleep(0.05)
                continue
            self.statuses.add(answer.status_code)
            if answer.status_code == httpx2.codes.ACCEPTED:
                self.accepted[answer.json()["id"]] = number
                return
            time.sleep(0.05)


@pytest.mark.timeout(3600)
def test_random_kills_lose_no_job_and_end_each_once(site: Site) -> None:
    chance = random.Random(7)
    servers = [site.server(step_s=0.02) for _ in range(2)]
    for server in servers:
        server.wait()
    workers = [site.worker(server.url, lease_s=LEASE_S, visibility_s=5) for server in servers]
    for worker in workers:
        worker.wait()
    submitter = Submitter([server.url for server in servers])
    submitter.start()
    victims: list[Any] = [*servers, *workers, *workers, site.redis, site.redis, site.redis]
    for _ in range(NUM_KILLS):
        time.sleep(chance.uniform(0.2, 0.8))
        victim = chance.choice(victims)
        victim.kill()
        time.sleep(chance.uniform(0, 0.4))
        victim.start()
        if victim in servers:
            victim.wait()
    submitter.is_over.set()
    submitter.join(timeout=60)
    for server in servers:
        server.wait()
    url = servers[0].url
    for job_id, number in submitter.accepted.items():
        assert wait_for(url, job_id, has_ended)["status"] == "succeeded"
        assert result_of(url, job_id) == synchronous(url, rerank_body(number))
    for events in events_of(site, *submitter.accepted):
        assert [status for _, status in events if status not in {"queued", "running"}] == ["succeeded"]
    counts = totals(site)
    assert len(submitter.accepted) >= NUM_KILLS
    assert counts["accepted"] == counts["succeeded"] == len(submitter.accepted)
    assert submitter.statuses <= {202, 503}


@pytest.mark.parametrize("bell", ["celery", "streams"])
def test_orphan_is_taken_again_when_its_lease_ends(site: Site, bell: str) -> None:
    server = site.server(step_s=1.0, job_doorbell=bell)
    server.wait()
    dying = site.worker(server.url, lease_s=LEASE_S, job_doorbell=bell)
    dying.wait()
    body = rerank_body(1)
    job_id = submitted(server.url, body)
    wait_for(server.url, job_id, lambda job: job["status"] == "running")
    dying.kill()
    site.worker(server.url, lease_s=LEASE_S, job_doorbell=bell).wait()
    job = wait_for(server.url, job_id, has_ended)
    assert (job["status"], job["attempts"]) == ("succeeded", 2)
    assert result_of(server.url, job_id) == synchronous(server.url, body)
    taken = [ms for ms, status in events_of(site, job_id)[0] if status == "running"]
    assert taken[1] - taken[0] <= 1000 * (LEASE_S + 5)


def test_ring_lost_inside_celery_loses_no_job(site: Site) -> None:
    """The broker has taken the message from its list, and dies before it has stored it as taken."""
    server = site.server()
    server.wait()
    dying = site.worker(server.url, lease_s=LEASE_S, dies_in_window=1)
    dying.wait()
    job_id = submitted(server.url, rerank_body(1))
    wait_until(lambda: dying.process is not None and dying.process.poll() is not None, 30)
    assert dying.process is not None
    assert dying.process.poll() == -signal.SIGKILL
    site.worker(server.url, lease_s=LEASE_S).wait()
    assert wait_for(server.url, job_id, has_ended)["status"] == "succeeded"


def test_job_longer_than_lease_and_visibility_runs_once(site: Site) -> None:
    server = site.server(step_s=5.0)
    server.wait()
    for _ in range(2):
        site.worker(server.url, lease_s=1, visibility_s=1).wait()
    job_id = submitted(server.url, rerank_body(1))
    job = wait_for(server.url, job_id, has_ended)
    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    assert [status for _, status in events_of(site, job_id)[0]] == ["queued", "running", "succeeded"]


def test_frozen_worker_cannot_overwrite_the_result_of_another(site: Site) -> None:
    slow, quick = site.server(step_s=1.0), site.server()
    slow.wait()
    quick.wait()
    frozen = site.worker(slow.url, lease_s=LEASE_S)
    frozen.wait()
    job_id = submitted(quick.url, rerank_body(1))
    wait_for(quick.url, job_id, lambda job: job["status"] == "running")
    frozen.signal(signal.SIGSTOP)
    site.worker(quick.url, lease_s=LEASE_S).wait()
    job = wait_for(quick.url, job_id, has_ended)
    assert (job["status"], job["attempts"]) == ("succeeded", 2)
    before = httpx2.get(f"{quick.url}/v1/jobs/{job_id}/result")
    frozen.signal(signal.SIGCONT)
    wait_until(lambda: "lease was lost" in frozen.log(), 30)
    after = httpx2.get(f"{quick.url}/v1/jobs/{job_id}/result")
    assert (after.content, after.headers["x-total-time"]) == (before.content, before.headers["x-total-time"])
    assert totals(site)["succeeded"] == 1


@pytest.mark.parametrize("bell", ["celery", "streams"])
def test_worker_that_fails_inside_ends_for_its_supervisor_to_start_it_again(site: Site, bell: str) -> None:
    worker = site.worker("http://127.0.0.1:1", job_doorbell=bell, fails=1)
    assert worker.process is not None
    assert worker.process.wait(timeout=60) != 0
    assert "the worker failed" in worker.log()
    assert "RuntimeError" in worker.log()


def test_without_redis_nothing_is_accepted_and_afterwards_work_goes_on(site: Site) -> None:
    server = site.server()
    server.wait()
    worker = site.worker(server.url, lease_s=LEASE_S)
    worker.wait()
    first = submitted(server.url, rerank_body(1))
    assert wait_for(server.url, first, has_ended)["status"] == "succeeded"
    for away, back in ((site.redis.kill, site.redis.start), (freeze(site), thaw(site))):
        away()
        started_s = time.monotonic()
        answer = httpx2.post(f"{server.url}/v1/rerank", json=rerank_body(2), headers={"Prefer": "respond-async"}, timeout=30)
        elapsed_s = time.monotonic() - started_s
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "jobs_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert elapsed_s < 5  # 1 s on a machine with nothing else to do
        assert synchronous(server.url, rerank_body(2))
        back()
        job_id = submitted(server.url, rerank_body(3))
        assert wait_for(server.url, job_id, has_ended)["status"] == "succeeded"
    assert worker.process is not None
    assert worker.process.poll() is None


def freeze(site: Site) -> Any:
    return partial(send, site, signal.SIGSTOP)


def thaw(site: Site) -> Any:
    return partial(send, site, signal.SIGCONT)


def send(site: Site, number: int) -> None:
    assert site.redis.process is not None
    site.redis.process.send_signal(number)


def test_accepted_jobs_wait_for_a_server_and_a_worker_to_come_back(site: Site) -> None:
    server = site.server()
    server.wait()
    ids = [submitted(server.url, rerank_body(number)) for number in range(20)]
    worker = site.worker(server.url, lease_s=LEASE_S)
    server.kill()
    worker.wait()
    time.sleep(1.5)  # some jobs meet the closed port
    server.start()
    server.wait()
    for job_id in ids:
        assert wait_for(server.url, job_id, has_ended)["status"] == "succeeded"
