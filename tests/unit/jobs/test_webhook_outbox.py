"""The outbox with a real Redis and a real receiver: nothing is lost, and nothing is sent without end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest

pytest.importorskip("redis")

from pydantic import TypeAdapter
from standardwebhooks import Webhook

from shortlist.errors import JobsUnavailable
from shortlist.jobs.job import NewJob, Result
from shortlist.jobs.records import JobStore
from shortlist.jobs.webhook_outbox import DELAYS_S, MAX_SENDING_PER_HOST, WebhookOutbox
from shortlist.jobs.webhook_records import MAX_ATTEMPTS, MAX_RESULT_BYTES, WebhookRecords
from shortlist.jobs.webhook_sender import WebhookOutcome, WebhookSender
from shortlist.jobs.webhook_targets import WebhookTargets
from shortlist.setting_types import WebhookTargetList
from tests.support.hook_receiver import HookReceiver, Received, Reply, hook_receiver
from tests.support.redis_server import RedisServer

ANSWER = Result(200, {"content-type": "application/json"}, b'{"results":[{"index":0}]}')
QUICK = tuple(0.01 for _ in DELAYS_S)


@pytest.fixture(scope="module")
def serving() -> Iterator[HookReceiver]:
    with hook_receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(serving: HookReceiver) -> HookReceiver:
    serving.play(Reply())
    return serving


@contextlib.asynccontextmanager
async def outbox(
    store: JobStore, *stated: str, delays_s: Sequence[float] = QUICK, timeout_s: float = 10.0
) -> AsyncIterator[None]:
    targets = WebhookTargets(TypeAdapter(WebhookTargetList).validate_python(list(stated or ("127.0.0.1",))))
    sender = WebhookSender(targets, timeout_s=timeout_s)
    running = asyncio.create_task(WebhookOutbox(WebhookRecords(store), sender, delays_s=delays_s).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def ended(store: JobStore, url: str, *, owner: str = "a", answer: Result = ANSWER) -> str:
    """Run a job with a webhook to its end, and return its id."""
    job_id = (await store.accept(NewJob(owner=owner, path="/v1/rerank", body=b"{}", webhook=url))).job_id
    lease = await store.take()
    assert lease is not None
    assert await store.finish(lease, answer, has_failed=answer.status != 200)
    return job_id


async def state(store: JobStore, job_id: str) -> dict[str, str]:
    """Return what the record says of its webhook."""
    record: dict[Any, Any] = await store.redis.hgetall(f"{{shortlist}}:job:{job_id}")
    return {name.decode(): value.decode() for name, value in record.items() if name.startswith(b"hook_")}


async def until(holds: Callable[[], Any]) -> None:
    """Wait until a condition holds, for at most 30 seconds."""
    async with asyncio.timeout(30):
        while not (await found if asyncio.iscoroutine(found := holds()) else found):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.01)


async def num_waiting(store: JobStore) -> int:
    return int(await store.redis.zcard("{shortlist}:jobs:hooks"))


async def settled(store: JobStore, job_id: str, status: str) -> dict[str, str]:
    async def is_settled() -> bool:
        return (await state(store, job_id)).get("hook_status") == status

    await until(is_settled)
    return await state(store, job_id)


def ids(received: Sequence[Received]) -> list[str]:
    return [each.headers["webhook-id"] for each in received]


async def test_receiver_that_is_down_three_times_gets_it_once(store: JobStore, receiver: HookReceiver) -> None:
    receiver.play(Reply(None), Reply(500), Reply(503), Reply(204))
    async with outbox(store):
        job_id = await ended(store, f"{receiver.url}/hook")
        assert await settled(store, job_id, "delivered") == {
            "hook_status": "delivered",
            "hook_attempts": "4",
            "hook_reason": "status 204",
        }
        await asyncio.sleep(1.2)  # two more polls
    assert ids(receiver.received) == [job_id] * 4
    secret = await WebhookRecords(store).secret("a")
    for each in receiver.received:
        sent = Webhook(secret).verify(each.body, dict(each.headers))
        assert sent["type"] == "job.succeeded"
        assert sent["data"]["result"] == {"status": 200, "body": {"results": [{"index": 0}]}}
        job = {"id": job_id, "object": "job", "status": "succeeded", "path": "/v1/rerank", "attempts": 1}
        assert job.items() <= sent["data"].items()
    assert await num_waiting(store) == 0


async def test_gone_ends_the_attempts(store: JobStore, receiver: HookReceiver) -> None:
    receiver.play(Reply(410))
    async with outbox(store):
        job_id = await ended(store, receiver.url)
        assert (await settled(store, job_id, "failed"))["hook_attempts"] == "1"
    assert (await num_waiting(store), len(receiver.received)) == (0, 1)


async def test_attempts_are_used_up(store: JobStore, receiver: HookReceiver) -> None:
    receiver.play(Reply(500))
    async with outbox(store):
        job_id = await ended(store, receiver.url)
        found = await settled(store, job_id, "failed")
    assert found == {"hook_status": "failed", "hook_attempts": str(MAX_ATTEMPTS), "hook_reason": "status 500"}
    assert (await num_waiting(store), len(receiver.received)) == (0, MAX_ATTEMPTS)


async def test_targets_that_are_not_allowed_get_nothing(store: JobStore, receiver: HookReceiver) -> None:
    async with outbox(store, "*"):
        inside = await ended(store, f"{receiver.url}/hook")
        assert (await settled(store, inside, "failed"))["hook_reason"] == "the host is not allowed"
        metadata = await ended(store, "http://169.254.169.254/latest/meta-data/")
        assert (await settled(store, metadata, "failed"))["hook_reason"] == "the host is not allowed"
    assert receiver.received == []


async def test_sender_that_dies_is_replaced(store: JobStore, receiver: HookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortlist.jobs.webhook_records.LEASE_S", 0.3)
    job_id = await ended(store, receiver.url)
    records = WebhookRecords(store)
    [frozen] = await records.take(1)
    assert await records.take(1) == []
    async with outbox(store):
        await settled(store, job_id, "delivered")
    assert not await records.settle(frozen, WebhookOutcome.FAILED, "late", delay_s=0.0)
    assert (await state(store, job_id))["hook_status"] == "delivered"
    assert ids(receiver.received) == [job_id]


async def test_senders_share_the_work(store: JobStore, receiver: HookReceiver) -> None:
    job_ids = [await ended(store, receiver.url) for _ in range(20)]
    async with outbox(store), outbox(store):
        for job_id in job_ids:
            await settled(store, job_id, "delivered")
    assert sorted(ids(receiver.received)) == sorted(job_ids)


async def test_receiver_that_hangs_does_not_hold_up_others(store: JobStore, receiver: HookReceiver) -> None:
    with hook_receiver() as hanging:
        hanging.play(Reply(200, body=b"a" * 1000, drip_s=1.0))
        slow = [await ended(store, hanging.url) for _ in range(12)]
        async with outbox(store, timeout_s=25.0):
            await until(lambda: len(hanging.received) == MAX_SENDING_PER_HOST)
            await settled(store, await ended(store, receiver.url), "delivered")
            assert len(hanging.received) == MAX_SENDING_PER_HOST
            hanging.closing.set()
            attempts = [(await settled(store, each, "delivered"))["hook_attempts"] for each in slow]
    assert attempts == ["1"] * len(slow)


async def test_retry_after_is_kept(store: JobStore, receiver: HookReceiver) -> None:
    receiver.play(Reply(429, {"retry-after": "3600"}))
    async with outbox(store):
        job_id = await ended(store, receiver.url)
        await until(lambda: len(receiver.received) == 1)

        async def is_postponed() -> bool:
            return "hook_reason" in await state(store, job_id)

        await until(is_postponed)
    [now_s, _] = await store.redis.time()
    due_ms = await store.redis.zscore("{shortlist}:jobs:hooks", job_id)
    assert due_ms is not None
    assert 3500 < due_ms / 1000 - now_s < 3602


async def test_record_outlives_the_next_attempt(store: JobStore, receiver: HookReceiver) -> None:
    receiver.play(Reply(500))
    new = NewJob(owner="a", path="/v1/rerank", body=b"{}", webhook=receiver.url, ttl_s=2.0)
    await store.accept(new)
    lease = await store.take()
    assert lease is not None
    await store.finish(lease, ANSWER)
    async with outbox(store, delays_s=(3600.0, *QUICK[1:])):
        await until(lambda: len(receiver.received) == 1)

        async def is_kept() -> bool:
            return int(await store.redis.pttl(f"{{shortlist}}:job:{new.id}")) > 3_000_000

        await until(is_kept)


async def test_webhook_of_a_removed_record_is_dropped(store: JobStore, receiver: HookReceiver) -> None:
    job_id = await ended(store, receiver.url)
    await store.redis.delete(f"{{shortlist}}:job:{job_id}")
    async with outbox(store):

        async def is_dropped() -> bool:
            return await num_waiting(store) == 0

        await until(is_dropped)
    assert receiver.received == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ANSWER, True),
        (Result(200, {"content-type": "application/json"}, b'"%s"' % (b"a" * MAX_RESULT_BYTES)), False),
        (Result(200, {"content-type": "text/plain"}, b"ok"), False),
    ],
)
async def test_result_is_sent_if_it_is_short_json(
    store: JobStore, receiver: HookReceiver, answer: Result, expected: bool
) -> None:
    async with outbox(store):
        await settled(store, await ended(store, receiver.url, answer=answer), "delivered")
    assert ("result" in json.loads(receiver.received[0].body)["data"]) is expected


async def test_every_end_is_told(store: JobStore, receiver: HookReceiver) -> None:
    async with outbox(store):
        refused = await ended(store, receiver.url, answer=Result(400, {"content-type": "application/json"}, b'{"error":{}}'))
        cancelled = (await store.accept(NewJob(owner="a", path="/v1/rerank", body=b"{}", webhook=receiver.url))).job_id
        await store.cancel(cancelled, "a")
        await settled(store, refused, "delivered")
        await settled(store, cancelled, "delivered")
    sent = {each.headers["webhook-id"]: json.loads(each.body) for each in receiver.received}
    assert (sent[refused]["type"], sent[refused]["data"]["result"]["status"]) == ("job.failed", 400)
    assert sent[cancelled]["type"] == "job.cancelled"
    assert "result" not in sent[cancelled]["data"]


async def test_secrets_are_per_owner_and_rotate(store: JobStore, receiver: HookReceiver) -> None:
    records = WebhookRecords(store)
    first, other = await records.secret("a"), await records.secret("b:previous")
    assert len({first, other}) == 2
    assert await records.secret("a") == first
    second = await records.rotate_secret("a")
    assert second != first
    assert await records.secret("a") == second
    async with outbox(store):
        await settled(store, await ended(store, receiver.url), "delivered")
        await settled(store, await ended(store, receiver.url, owner="b:previous"), "delivered")
    of_a, of_b = receiver.received
    for secret in (first, second):
        Webhook(secret).verify(of_a.body, dict(of_a.headers))
    Webhook(other).verify(of_b.body, dict(of_b.headers))
    assert of_b.headers["webhook-signature"].count("v1,") == 1


async def test_redis_that_is_gone_stops_nothing(store: JobStore, redis: RedisServer, receiver: HookReceiver) -> None:
    async with outbox(store):
        redis.kill()
        await asyncio.sleep(1.0)
        redis.start()

        async def is_back() -> bool:
            with contextlib.suppress(JobsUnavailable):  # it reads its file
                return await store.take() is None
            return False

        await until(is_back)
        await settled(store, await ended(store, receiver.url), "delivered")
