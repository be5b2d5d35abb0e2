"""The records of jobs in a real Redis: each transition, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

pytest.importorskip("redis")

from redis._parsers.base import BaseParser
from redis.exceptions import ResponseError

from shortlist.errors import IdempotencyConflict, JobsUnavailable
from shortlist.jobs import records
from shortlist.jobs.job import Job, JobStatus, Lease, NewJob, Result, Swept
from shortlist.jobs.records import JobStore
from shortlist.jobs.stream_doorbell import StreamDoorbell
from shortlist.jobs.sweeper import Ringer, sweep_forever
from shortlist.jobs.transitions import MAX_FAILURES, RECORD_VERSION
from tests.support.redis_server import RedisServer

ANSWER = Result(200, {"content-type": "application/json", "x-served-model": "fake"}, b'{"results":[]}')
SHORT_S = 0.1


@pytest.fixture
async def hasty(redis: RedisServer, store: JobStore) -> AsyncIterator[JobStore]:
    """A store whose leases end soon."""
    hasty = JobStore(redis.url, doorbell="test", lease_s=SHORT_S)
    yield hasty
    await hasty.close()


def new_job(**fields: object) -> NewJob:
    return NewJob(**{"owner": "a", "path": "/v1/rerank", "body": b'{"query":"q"}', **fields})  # type: ignore[arg-type]


async def taken(store: JobStore) -> Lease:
    lease = await store.take()
    assert lease is not None
    return lease


async def job(store: JobStore, job_id: str, owner: str = "a") -> Job:
    found = await store.read(job_id, owner)
    assert found is not None
    return found


async def statuses(store: JobStore, job_id: str) -> list[str]:
    return [event.status.value for event in await store.events(job_id)]


async def keys(store: JobStore) -> set[str]:
    return {str(key, "utf-8") for key in raw(await store.redis.keys("*"))}


def raw(found: Any) -> Any:
    """Return what Redis sent, which its client types as bytes or text."""
    return found


async def test_life_of_a_job(store: JobStore) -> None:
    job_id, is_new, created_ms, must_ring = await store.accept(
        new_job(headers={"x-rerank-dialect": "tei"}, webhook="w", batch="b")
    )
    assert (is_new, must_ring) == (True, True)
    queued = await job(store, job_id)
    assert (queued.status, queued.attempts, queued.created_ms) == (JobStatus.QUEUED, 0, created_ms)
    lease = await taken(store)
    assert (lease.job.id, lease.body, lease.job.headers) == (job_id, b'{"query":"q"}', {"x-rerank-dialect": "tei"})
    assert await store.take() is None
    assert await store.beat(lease)
    assert await store.finish(lease, ANSWER)
    ended = await job(store, job_id)
    assert (ended.status, ended.attempts, ended.webhook, ended.batch) == (JobStatus.SUCCEEDED, 1, "w", "b")
    assert ended.finished_ms >= ended.created_ms
    assert await store.result(ended) == ANSWER
    assert await statuses(store, job_id) == ["queued", "running", "succeeded"]
    [first, *later] = await store.events(job_id)
    assert await store.events(job_id, first.id) == later
    assert f"{{shortlist}}:job:{job_id}:in" not in await keys(store)


async def test_end_tells_the_webhook_and_the_batch_in_the_same_step(store: JobStore) -> None:
    await store.redis.hset("{shortlist}:batch:b", "open", 2)
    ids = [(await store.accept(new_job(batch="b", webhook="w"))).job_id for _ in range(2)]
    lease = await taken(store)
    await store.finish(lease, ANSWER)
    assert await store.redis.zrange("{shortlist}:batches:ending", 0, -1) == []
    [other] = set(ids) - {lease.job.id}
    await store.cancel(other, "a")
    assert await store.redis.zrange("{shortlist}:batches:ending", 0, -1) == [b"b"]
    assert await store.redis.hgetall("{shortlist}:batch:b") == {b"open": b"0", b"succeeded": b"1", b"cancelled": b"1"}
    assert {each.decode() for each in raw(await store.redis.zrange("{shortlist}:jobs:hooks", 0, -1))} == set(ids)


async def test_jobs_are_taken_in_order_and_only_one_ring_is_wanted_for_a_burst(store: JobStore) -> None:
    accepted = []
    for _ in range(5):
        accepted.append(await store.accept(new_job()))
        await asyncio.sleep(0.002)
    assert [each.must_ring for each in accepted] == [True, False, False, False, False]
    answered = await store.take(is_answer=True)
    assert answered is not None
    assert answered.must_ring  # for another slot: four more are due
    later = [await taken(store) for _ in range(4)]
    assert [each.job.id for each in (answered, *later)] == [each.job_id for each in accepted]
    assert not any(each.must_ring for each in later)


async def test_transitions_sent_twice_change_nothing(store: JobStore) -> None:
    new = new_job()
    first = await store.accept(new)
    again = await store.accept(new)
    assert (again.job_id, again.created_ms) == (first.job_id, first.created_ms)
    lease = await taken(store)
    assert await store.finish(lease, ANSWER)
    assert await store.finish(lease, Result(500, {}, b"other"), has_failed=True)
    assert await store.result(await job(store, new.id)) == ANSWER
    assert (await store.sweep()).counts == {"accepted": 1, "attempts": 1, "succeeded": 1}
    await store.accept(new_job())
    lease = await taken(store)
    assert await store.retry(lease, delay_s=0) == "queued"
    assert await store.retry(lease, delay_s=0) == "lost"


async def test_other_token_can_do_nothing(store: JobStore) -> None:
    await store.accept(new_job())
    lease = await taken(store)
    thief = lease._replace(token="other")
    assert not await store.beat(thief)
    assert not await store.finish(thief, ANSWER)
    assert await store.retry(thief, delay_s=0) == "lost"
    assert (await job(store, lease.job.id)).status is JobStatus.RUNNING


async def test_ended_lease_is_queued_again_and_its_worker_is_refused(store: JobStore, hasty: JobStore) -> None:
    job_id = (await store.accept(new_job())).job_id
    frozen = await taken(hasty)
    await asyncio.sleep(2 * SHORT_S)
    swept = await store.sweep()
    assert (swept.num_waiting, swept.num_running, swept.counts["leases_expired"]) == (1, 0, 1)
    assert not await store.beat(frozen)
    assert not await store.finish(frozen, ANSWER)
    other = await taken(store)
    assert not await store.finish(frozen, ANSWER)
    assert await store.finish(other, ANSWER)
    assert not await store.finish(frozen, Result(500, {}, b""))
    assert await statuses(store, job_id) == ["queued", "running", "queued", "running", "succeeded"]


async def test_beats_keep_a_lease(hasty: JobStore, store: JobStore) -> None:
    await store.accept(new_job())
    lease = await taken(hasty)
    for _ in range(10):
        await asyncio.sleep(SHORT_S / 5)
        assert await hasty.beat(lease)
        await store.sweep()
    assert await hasty.finish(lease, ANSWER)


async def test_job_whose_workers_end_again_and_again_is_given_up(store: JobStore, hasty: JobStore) -> None:
    job_id = (await store.accept(new_job())).job_id
    for _ in range(MAX_FAILURES):
        await taken(hasty)
        await asyncio.sleep(1.2 * SHORT_S)
        await store.sweep()
    ended = await job(store, job_id)
    result = await store.result(ended)
    assert ended.status is JobStatus.FAILED
    assert result is not None
    assert (result.status, result.headers) == (500, {"content-type": "application/json"})
    assert await store.take() is None


async def test_retry_waits_and_costs(store: JobStore) -> None:
    await store.accept(new_job())
    lease = await taken(store)
    assert await store.retry(lease, delay_s=SHORT_S) == "queued"
    assert await store.take() is None
    assert (await store.sweep()).num_waiting == 1
    await asyncio.sleep(1.5 * SHORT_S)
    lease = await taken(store)
    assert await store.retry(lease, delay_s=0, cost=MAX_FAILURES - 1) == "queued"
    lease = await taken(store)
    assert lease.job.failures == MAX_FAILURES - 1
    assert await store.retry(lease, delay_s=0, cost=0) == "queued"
    lease = await taken(store)
    assert await store.retry(lease, delay_s=0, cost=1) == "spent"
    assert await store.finish(lease, Result(502, {}, b"bad"), has_failed=True)


async def test_cancelled_job_leaves_nothing_but_its_record(store: JobStore) -> None:
    ids = [(await store.accept(new_job())).job_id for _ in range(3)]
    leases = [await taken(store) for _ in range(2)]
    for _ in range(2):
        assert all([await store.cancel(job_id, "a") for job_id in ids])
    for lease in leases:
        assert not await store.beat(lease)
        assert not await store.finish(lease, ANSWER)
    assert {(await job(store, job_id)).status for job_id in ids} == {JobStatus.CANCELLED}
    assert await store.take() is None
    assert not [key for key in await keys(store) if key.endswith((":in", ":out", ":events"))]
    assert (await store.sweep()).num_waiting_tokens == 0


async def test_removed_result_of_an_ended_job_has_expired(store: JobStore) -> None:
    job_id = (await store.accept(new_job())).job_id
    await store.finish(await taken(store), ANSWER)
    assert await store.cancel(job_id, "a")
    ended = await job(store, job_id)
    assert (ended.status, await store.result(ended)) == (JobStatus.EXPIRED, None)


async def test_prefetch_keeps_no_result(store: JobStore) -> None:
    job_id = (await store.accept(new_job(keeps_result=False))).job_id
    await store.finish(await taken(store), ANSWER)
    ended = await job(store, job_id)
    assert (ended.status, ended.keeps_result, await store.result(ended)) == (JobStatus.SUCCEEDED, False, None)


async def test_job_that_is_too_old_expires_whether_it_runs_or_waits(store: JobStore) -> None:
    ids = [(await store.accept(new_job(max_age_s=SHORT_S))).job_id for _ in range(3)]
    lease = await taken(store)
    await asyncio.sleep(1.5 * SHORT_S)
    assert await store.take() is None  # the first of the others expires here, the rest in the sweep
    await store.sweep()
    assert {(await job(store, job_id)).status for job_id in ids} == {JobStatus.EXPIRED}
    assert not await store.finish(lease, ANSWER)


async def test_same_idempotency_key_at_the_same_time_is_one_job(store: JobStore) -> None:
    found = await asyncio.gather(*(store.accept(new_job(idempotency_key="k")) for _ in range(50)))
    assert len({each.job_id for each in found}) == 1
    assert sum(each.is_new for each in found) == 1
    assert (await store.sweep()).num_waiting == 1


async def test_idempotency_key_of_another_request_or_caller(store: JobStore) -> None:
    first = await store.accept(new_job(idempotency_key="k"))
    for other in ({"body": b"{}"}, {"path": "/v1/embeddings"}, {"webhook": "w"}, {"headers": {"x-rerank-dialect": "tei"}}):
        with pytest.raises(IdempotencyConflict):
            await store.accept(new_job(idempotency_key="k", **other))
    assert (await store.accept(new_job(idempotency_key="k", owner="b"))).job_id != first.job_id
    await store.finish(await taken(store), ANSWER)
    assert (await store.accept(new_job(idempotency_key="k"))).job_id == first.job_id


async def test_other_owners_see_and_cancel_nothing(store: JobStore) -> None:
    job_id = (await store.accept(new_job())).job_id
    assert await store.read(job_id, "b") is None
    assert not await store.cancel(job_id, "b")
    assert await store.list_jobs("b") == []
    assert [each.id for each in await store.list_jobs("a")] == [job_id]
    assert (await job(store, job_id)).status is JobStatus.QUEUED


async def test_only_the_holder_of_a_lease_speaks_for_the_owner(store: JobStore) -> None:
    job_id = (await store.accept(new_job())).job_id
    assert await store.owner_of(job_id, "") is None
    lease = await taken(store)
    assert await store.owner_of(job_id, lease.token) == "a"
    assert await store.owner_of(job_id, "x") is None
    assert await store.owner_of("job_x", lease.token) is None
    await store.finish(lease, ANSWER)
    assert await store.owner_of(job_id, lease.token) is None


async def test_memory_returns_to_its_start_without_any_process(store: JobStore) -> None:
    await store.accept(new_job())
    await store.finish(await taken(store), ANSWER)
    await store.sweep()
    await store.redis.flushall()
    for number in range(100):
        fields: dict[str, Any] = {"idempotency_key": str(number), "owner": f"o{number % 7}", "ttl_s": SHORT_S, "max_age_s": 60}
        await store.accept(new_job(**fields))
    for number in range(100):
        lease = await taken(store)
        if number % 3:
            await store.finish(lease, ANSWER)
        else:
            await store.cancel(lease.job.id, lease.job.owner)
    await asyncio.sleep(3 * SHORT_S)
    left = await keys(store)
    assert {key for key in left if not key.startswith("{shortlist}:jobs:of:")} <= {
        "{shortlist}:jobs:stats",
        "{shortlist}:jobs:tokens",
        "{shortlist}:jobs:rung:test",
    }
    assert await store.list_jobs("o1") == []
    expiries = [await store.redis.pttl(key) for key in left if key.startswith("{shortlist}:jobs:of:")]
    assert all(0 < each <= 61_000 for each in expiries)


async def test_unfinished_jobs_expire_by_themselves(store: JobStore) -> None:
    await store.accept(new_job(idempotency_key="k", ttl_s=SHORT_S, max_age_s=SHORT_S))
    assert all(
        [await store.redis.pttl(key) > 0 for key in await keys(store) if ":job:" in key or ":of:" in key or ":idem" in key]
    )
    await asyncio.sleep(4 * SHORT_S)
    await store.sweep()
    assert await store.take() is None
    await store.sweep()
    assert await keys(store) <= {"{shortlist}:jobs:stats", "{shortlist}:jobs:rung:test"}


@pytest.mark.parametrize("version", [RECORD_VERSION - 1, RECORD_VERSION + 1])
async def test_records_of_the_release_before_and_after_are_worked_on(
    store: JobStore, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour's record has fields that this release does not know, or lacks those that it has a default for."""
    job_id = (await store.accept(new_job())).job_id
    key = f"{{shortlist}}:job:{job_id}"
    await store.redis.hset(key, mapping={"v": version, "field of a later release": "x"})
    await store.redis.hdel(key, "webhook", "batch", "keep", "tokens", "headers", "failures", "idem")
    lease = await taken(store)
    assert await store.beat(lease)
    assert await store.retry(lease, delay_s=0, cost=1) == "queued"
    assert await store.finish(await taken(store), ANSWER)
    assert await store.result(await job(store, job_id)) == ANSWER
    monkeypatch.setattr(records, "RECORD_VERSION", version)  # and the neighbour works on this release's
    await store.accept(new_job())
    assert await store.finish(await taken(store), ANSWER)


async def test_records_of_a_release_too_far_away_are_left_to_others_and_block_nothing(store: JobStore) -> None:
    far = (await store.accept(new_job())).job_id
    await store.redis.hset(f"{{shortlist}}:job:{far}", "v", RECORD_VERSION + 2)
    near = (await store.accept(new_job())).job_id
    assert (await taken(store)).job.id == near
    assert await store.take() is None
    assert (await job(store, far)).status is JobStatus.QUEUED


async def test_script_with_an_error_is_not_an_outage(store: JobStore) -> None:
    await store.redis.set("{shortlist}:jobs:due", "not a sorted set")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await store.take()


async def test_sweep_goes_on_after_an_error(store: JobStore, caplog: pytest.LogCaptureFixture) -> None:
    bell = StreamDoorbell("redis://127.0.0.1:1")
    await store.redis.set("{shortlist}:jobs:due", "not a sorted set")
    found: asyncio.Queue[Swept | None] = asyncio.Queue()
    sweeping = asyncio.create_task(sweep_forever(store, Ringer(bell), found.put_nowait))
    assert await found.get() is None
    await store.redis.delete("{shortlist}:jobs:due")
    while await found.get() is None:
        pass
    sweeping.cancel()
    assert "the sweep failed" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        b"-LOADING Redis is loading the dataset in memory",
        b"-READONLY You can't write against a read only replica.",
        b"-MASTERDOWN Link with MASTER is down",
        b"-CLUSTERDOWN The cluster is down",
        b"-MISCONF Errors writing to the AOF file: No space left on device",
        b"-NOREPLICAS Not enough good replicas to write.",
        b"-BUSY Redis is busy running a script.",
    ],
)
async def test_redis_that_cannot_answer_now_is_an_outage(error: bytes) -> None:
    async def fail() -> None:
        raise BaseParser.parse_error(error[1:].decode())  # type: ignore[no-untyped-call]

    with pytest.raises(JobsUnavailable):
        await JobStore.call(fail)


async def test_parts_of_batches_are_not_listed_among_the_jobs(store: JobStore) -> None:
    part = (await store.accept(new_job(id="batch_b.p1"))).job_id
    plain = (await store.accept(new_job())).job_id
    assert [each.id for each in await store.list_jobs("a")] == [plain]
    assert await store.finish(await taken(store), ANSWER)
    assert (await job(store, part)).status is JobStatus.SUCCEEDED
    assert [each.id for each in await store.list_jobs("a")] == [plain]


async def test_full_redis_refuses_new_jobs_and_lets_accepted_ones_end(store: JobStore) -> None:
    job_id = (await store.accept(new_job())).job_id
    await store.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(JobsUnavailable, match="full"):
            await store.accept(new_job())
        lease = await taken(store)
        assert await store.beat(lease)
        assert await store.retry(lease, delay_s=0) == "queued"
        await store.sweep()
        assert await store.finish(await taken(store), ANSWER)
        assert await store.result(await job(store, job_id)) == ANSWER
    finally:
        await store.redis.config_set("maxmemory", 0)
    assert [each.id for each in await store.list_jobs("a")] == [job_id]


async def test_waiting_tokens_are_counted_wherever_a_job_goes(store: JobStore, hasty: JobStore) -> None:
    big, small = new_job(body=b"x" * 4000), new_job(body=b"x" * 40)
    await store.accept(big)
    await asyncio.sleep(0.002)  # jobs of one millisecond have no order
    await store.accept(small)
    assert (await store.sweep()).num_waiting_tokens == big.num_tokens + small.num_tokens
    await taken(hasty)
    assert (await store.sweep()).num_waiting_tokens == small.num_tokens
    await asyncio.sleep(1.5 * SHORT_S)
    assert (await store.sweep()).num_waiting_tokens == big.num_tokens + small.num_tokens
    await store.cancel(big.id, "a")
    assert (await store.sweep()).num_waiting_tokens == small.num_tokens


async def test_news_name_every_change(store: JobStore) -> None:
    async with aclosing(store.news()) as news:
        assert await anext(news) is None  # subscribed
        job_id = (await store.accept(new_job())).job_id
        await store.finish(await taken(store), ANSWER)
        heard = [await anext(news) for _ in range(3)]
    assert heard == [job_id] * 3
