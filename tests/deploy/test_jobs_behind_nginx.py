"""Jobs through a real nginx with the configuration of deploy/nginx: events arrive at once, and go on when a server dies."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import httpx2
import pytest

from tests.support.job_site import JobServer, JobWorker, has_ended, job_site, rerank_body
from tests.support.nginx import Nginx, missing_nginx, nginx
from tests.support.process import wait_until
from tests.support.redis_server import missing_redis

pytest.importorskip("celery")
if missing := missing_redis() or missing_nginx():
    pytest.skip(missing, allow_module_level=True)

ASYNC = {"Prefer": "respond-async"}

Place = tuple[Nginx, list[JobServer], JobWorker]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("nginx")
    with job_site(tmp_path_factory.mktemp("jobs")) as site:
        servers = [site.server(trusted_proxy="127.0.0.1", step_s=0.2) for _ in range(2)]
        for server in servers:
            server.wait()
        worker = site.worker(servers[0].url, lease_s=5)
        worker.wait()
        with nginx(folder, [server.port for server in servers]) as proxy:
            yield proxy, servers, worker


def lines_until(lines: Iterator[str], wanted: str) -> list[str]:
    """Return the ids of events up to the wanted one."""
    ids = []
    for line in lines:
        if line.startswith("id: "):
            ids.append(line.removeprefix("id: "))
        if line == wanted:
            return ids
    raise AssertionError(f"{wanted} did not come")


def test_events_go_on_at_the_other_server_when_one_is_killed(place: Place) -> None:
    proxy, servers, worker = place
    with proxy.client() as client:
        worker.signal(signal.SIGSTOP)
        job = client.post("/v1/rerank", json=rerank_body(1), headers=ASYNC).json()
        path = f"/v1/jobs/{job['id']}/events"
        with client.stream("GET", path) as answer:
            seen = lines_until(answer.iter_lines(), "event: queued")  # it comes while the job waits: nothing buffers it
            for server in servers[1:]:
                server.kill()
        worker.signal(signal.SIGCONT)
        with client.stream("GET", path, headers={"Last-Event-ID": seen[-1]}) as answer:
            later = lines_until(answer.iter_lines(), "event: succeeded")
        servers[1].start()
        servers[1].wait()
        with client.stream("GET", path) as answer:
            every = lines_until(answer.iter_lines(), "event: succeeded")
    assert [*seen, *later] == every
    assert len(set(every)) == len(every) == 3


def test_result_comes_through_with_its_location(place: Place) -> None:
    proxy, _, _ = place
    with proxy.client() as client:
        accepted = client.post("/v1/rerank", json=rerank_body(2), headers=ASYNC)
        path = accepted.headers["location"]
        wait_until(lambda: has_ended(client.get(path).json()), 60, every_s=0.05)
        result = client.get(f"{path}/result")
        assert result.status_code == httpx2.codes.OK
        assert result.json()["results"] == client.post("/v1/rerank", json=rerank_body(2)).json()["results"]
