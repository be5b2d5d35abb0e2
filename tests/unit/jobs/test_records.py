"""The records of jobs in a real Redis: each transition, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

pytest.importorskip("redis")

from shortlist.jobs.job import JobStatus, Lease, NewJob, Result
from shortlist.jobs.records import JobStore
from tests.support.redis_server import RedisServer, missing_redis, redis_server

ANSWER = Result(200, {"content-type": "application/json", "x-served-model": "fake"}, b'{"results":[]}')


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if missing := missing_redis():
        pytest.skip(missing)
    with redis_server(tmp_path_factory.mktemp("redis"), "--appendonly", "yes") as server:
        yield server


@pytest.fixture
async def store(redis: RedisServer) -> AsyncIterator[JobStore]:
    redis.ask(b"FLUSHALL")
    store = JobStore(redis.url, doorbell="test")
    yield store
    await store.close()


def job(**fields: object) -> NewJob:
    return NewJob(**{"owner": "a", "path": "/v1/rerank", "body": b'{"query":"q"}', **fields})  # type: ignore[arg-type]


async def taken(store: JobStore) -> Lease:
    lease = await store.take()
    assert lease is not None
    return lease


async def test_life_of_a_job(store: JobStore) -> None:
    job_id, is_new, _, must_ring = await store.accept(job(headers={"x-rerank-dialect": "tei"}, webhook="w", batch="b"))
    assert (is_new, must_ring) == (True, True)
    queued = await store.read(job_id, "a")
    assert queued is not None
    assert (queued.status, queued.attempts, queued.finished_ms) == (JobStatus.QUEUED, 0, 0)
    lease = await taken(store)
    assert (lease.job.id, lease.body, lease.job.headers) == (job_id, b'{"query":"q"}', {"x-rerank-dialect": "tei"})
    assert await store.take() is None
    assert await store.beat(lease)
    assert await store.finish(lease, ANSWER)
    ended = await store.read(job_id, "a")
    assert ended is not None
    assert (ended.status, ended.attempts, ended.webhook, ended.batch) == (JobStatus.SUCCEEDED, 1, "w", "b")
    assert ended.finished_ms >= ended.created_ms
    assert await store.result(ended) == ANSWER
    assert [event.status.value for event in await store.events(job_id)] == ["queued", "running", "succeeded"]
    [first, *later] = await store.events(job_id)
    assert await store.events(job_id, first.id) == later
    assert await store.redis.exists(f"{{shortlist}}:job:{job_id}:in") == 0
    assert await store.redis.zrange("{shortlist}:jobs:hooks", 0, -1) == [job_id.encode()]
