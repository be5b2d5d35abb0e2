"""The records of jobs in Redis: the calls around `transitions`.

A call is answered within `connection.TIMEOUT_S`, or raises `JobsUnavailable`. After that error a transition may have happened.
All transitions may be sent again: the second one changes nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal

import orjson

from shortlist.errors import IdempotencyConflict, JobsUnavailable
from shortlist.jobs import transitions
from shortlist.jobs.connection import TIMEOUT_S, connect
from shortlist.jobs.job import Accepted, Event, Job, JobStatus, Lease, NewJob, Result, Swept, digest_of
from shortlist.jobs.transitions import PREFIX, RECORD_VERSION
from shortlist.schemas.errors import UNKNOWN_ERROR, ErrorBody, ErrorDetail

STATES: Final = ("MISCONF ", "NOREPLICAS ", "BUSY ")
"""Beginnings of errors of a Redis that cannot write now: its disk is full, its replicas are away, a script runs for long."""

LEASE_S: Final = 15.0
BEAT_S: Final = 5.0
"""Time between two beats of a worker: two may fail before the lease ends."""


class JobStore:
    """The records of all jobs.

    Args:
        url: The address of Redis.
        doorbell: The name of the doorbell that this process rings or answers.
        lease_s: Seconds after the last beat at which a job is queued again.
    """

    def __init__(self, url: str, *, doorbell: str, lease_s: float = LEASE_S) -> None:
        self.redis = connect(url)
        self._doorbell = doorbell
        self._lease_ms = round(1000 * lease_s)
        scripts = ("ACCEPT", "TAKE", "BEAT", "FINISH", "RETRY", "CANCEL", "SWEEP")
        self._scripts = {name: self.redis.register_script(getattr(transitions, name)) for name in scripts}

    async def accept(self, new: NewJob) -> Accepted:
        """Store a job. Once this returns, the job ends, whatever dies.

        Raises:
            IdempotencyConflict: the key belongs to another request.
            JobsUnavailable: Redis does not answer, or is full.
        """
        idem = digest_of((new.owner.encode(), new.idempotency_key.encode())) if new.idempotency_key else ""
        times = [round(1000 * new.max_age_s), round(1000 * new.ttl_s)]
        outcome, job_id, created_ms, must_ring = await self._run(
            "ACCEPT", new.id, idem, new.digest, self._doorbell, new.body, *times, *new.fields()
        )
        if outcome == b"conflict":
            raise IdempotencyConflict("The Idempotency-Key belongs to another request; send a new one, or that request again.")
        return Accepted(job_id.decode(), outcome == b"accepted", created_ms, bool(must_ring))

    async def take(self, *, is_answer: bool = False) -> Lease | None:
        """Take the job that has been due for longest; None if none is due.

        Args:
            is_answer: Whether this is the first call after a ring: later jobs ring again.
        """
        token = uuid.uuid4().hex
        found = await self._run("TAKE", token, self._lease_ms, RECORD_VERSION, self._doorbell, int(is_answer))
        if found is None:
            return None
        job_id, record, body, must_ring = found
        return Lease(_job(job_id.decode(), _pairs(record), has_result=False), token, body or b"", bool(must_ring))

    async def beat(self, lease: Lease) -> bool:
        """Extend a lease; return whether it is still held."""
        return bool(await self._run("BEAT", lease.job.id, lease.token, self._lease_ms))

    async def finish(self, lease: Lease, result: Result, *, has_failed: bool = False) -> bool:
        """End a job with its result; return whether the result is the job's. Only the holder of the lease can."""
        status = JobStatus.FAILED if has_failed else JobStatus.SUCCEEDED
        headers = orjson.dumps(dict(result.headers))
        return bool(await self._run("FINISH", lease.job.id, lease.token, status, result.status, headers, result.body))

    async def retry(self, lease: Lease, *, delay_s: float, cost: int = 0) -> Literal["queued", "lost", "spent"]:
        """Queue a job again.

        Args:
            lease: The job; it is no longer held afterwards, unless `spent` is returned.
            delay_s: Seconds after which it is due.
            cost: What the attempt costs of `transitions.MAX_FAILURES`; 0 if it was not the job's fault.

        Returns:
            `lost` if the lease was not held; `spent` if the job has failed too often, so that the worker has to finish it.
        """
        [outcome, _] = await self._run("RETRY", lease.job.id, lease.token, round(1000 * delay_s), cost)
        return outcome.decode()  # type: ignore[no-any-return]

    async def cancel(self, job_id: str, owner: str) -> bool:
        """Cancel a job, and remove its body, result and events; return whether the owner has such a job."""
        return bool(await self._run("CANCEL", job_id, owner))

    async def read(self, job_id: str, owner: str) -> Job | None:
        """Return a job of this owner."""
        pipeline: Any = self.redis.pipeline(transaction=False)  # a full Redis takes no transaction
        record, has_result = await self._call(pipeline.hgetall(_key(job_id)).exists(_key(job_id, "out")).execute)
        job = _job(job_id, record, has_result=bool(has_result)) if record else None
        return job if job is not None and job.owner == owner else None

    async def result(self, job: Job) -> Result | None:
        """Return the result of a job, if there is one."""
        body = await self._call(lambda: self.redis.get(_key(job.id, "out")))
        return None if body is None else Result(job.http_status, job.http_headers, body)

    async def list_jobs(self, owner: str, *, limit: int = 100) -> list[Job]:
        """Return jobs of an owner: those that have not ended, then those that ended last."""
        ids = await self._call(lambda: self.redis.zrevrange(f"{PREFIX}jobs:of:{owner}", 0, limit - 1))
        jobs = [await self.read(job_id.decode(), owner) for job_id in ids]
        return [job for job in jobs if job is not None]

    async def events(self, job_id: str, after: str = "") -> list[Event]:
        """Return the events of a job after this one."""
        found = await self._call(lambda: self.redis.xrange(_key(job_id, "events"), min=f"({after}" if after else "-"))
        return [_event(event_id.decode(), fields) for event_id, fields in found]

    async def news(self) -> AsyncGenerator[str | None]:
        """Yield the id of every job and batch that changes, and None about once a second. Ends when Redis does not answer."""
        from redis.exceptions import RedisError

        async with aclosing(self.redis.pubsub(ignore_subscribe_messages=True)) as channel:
            try:
                await channel.subscribe(f"{PREFIX}jobs:news")
                while True:
                    message = await channel.get_message(timeout=1.0)
                    yield message["data"].decode() if message else None
            except (RedisError, OSError):
                return

    async def owner_of(self, job_id: str, token: str) -> str | None:
        """Return the owner of a job that is held with this token: a request with it is a worker's."""
        found = await self._call(lambda: self.redis.hmget(_key(job_id), "status", "token", "owner"))
        [status, held, owner] = [(value or b"").decode() for value in found]
        return owner if status == JobStatus.RUNNING and held == token else None

    async def sweep(self) -> Swept:
        """Queue jobs again whose lease has ended, and end jobs that are too old."""
        status, headers, body = given_up("The job was given up: too many workers ended while they worked on it.")
        must_ring, num_due, num_tokens, age_ms, num_running, num_hooks, hook_age_ms, counts = await self._run(
            "SWEEP", self._doorbell, status, orjson.dumps(dict(headers)), body
        )
        totals = {name.decode(): int(value) for name, value in _pairs(counts).items()}
        return Swept(
            must_ring=bool(must_ring),
            num_waiting=num_due,
            num_waiting_tokens=num_tokens,
            oldest_s=age_ms / 1000,
            num_running=num_running,
            num_webhooks=num_hooks,
            oldest_webhook_s=hook_age_ms / 1000,
            counts=totals,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self.redis.aclose()

    async def _run(self, script: str, *arguments: str | bytes | int) -> Any:
        """Run a transition. Its key is there for Redis Cluster, which finds the slot by it."""
        return await self._call(lambda: self._scripts[script](keys=[f"{PREFIX}jobs"], args=list(arguments)))

    @staticmethod
    async def _call(call: Callable[[], Awaitable[Any]]) -> Any:
        """Call Redis, whose client types text and bytes alike.

        Raises:
            JobsUnavailable: Redis does not answer in time, or cannot do so now: it starts, fails over, or is full.
            redis.exceptions.ResponseError: the call is wrong, as a script with an error.
        """
        from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await call()
        except OutOfMemoryError:
            raise JobsUnavailable("The Redis of the jobs is full; try again later.") from None
        except ResponseError as error:
            if not isinstance(error, ReadOnlyError | ClusterDownError) and not str(error).startswith(STATES):
                raise
            raise JobsUnavailable("The Redis of the jobs cannot write now; try again soon.") from None
        except (RedisError, OSError, TimeoutError):
            raise JobsUnavailable("The Redis of the jobs does not answer; try again soon.") from None

    call = _call
    """The same, for records of others in this Redis."""


def given_up(message: str) -> Result:
    """Return the answer of a job that no server answered, in the body that nearly all clients can parse."""
    kind = UNKNOWN_ERROR
    error: ErrorDetail = {"message": message, "type": kind.type, "param": None, "code": kind.code}
    body: ErrorBody = {"error": error, "message": message, "detail": message, "request_id": ""}
    return Result(kind.status, {"content-type": "application/json"}, orjson.dumps(body))


def _key(job_id: str, part: str = "") -> str:
    return f"{PREFIX}job:{job_id}{f':{part}' if part else ''}"


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _job(job_id: str, record: Mapping[bytes, bytes], *, has_result: bool) -> Job:
    """Read a record. Fields that another version does not have get a default."""
    text = {name.decode(): value.decode() for name, value in record.items()}
    status = JobStatus(text["status"])
    if status in {JobStatus.SUCCEEDED, JobStatus.FAILED} and not has_result and text.get("keep") != "0":
        status = JobStatus.EXPIRED
    return Job(
        id=job_id,
        status=status,
        owner=text["owner"],
        path=text["path"],
        created_ms=int(text["created"]),
        finished_ms=int(text.get("finished", 0)),
        attempts=int(text.get("attempts", 0)),
        failures=int(text.get("failures", 0)),
        headers=orjson.loads(text.get("headers") or "{}"),
        webhook=text.get("webhook", ""),
        batch=text.get("batch", ""),
        keeps_result=text.get("keep") != "0",
        http_status=int(text.get("http_status", 0)),
        http_headers=orjson.loads(text.get("http_headers") or "{}"),
        webhook_status=text.get("hook_status", ""),
        webhook_attempts=int(text.get("hook_attempts", 0)),
        webhook_reason=text.get("hook_reason", ""),
    )


def _event(event_id: str, fields: Mapping[bytes, bytes]) -> Event:
    return Event(event_id, JobStatus(fields[b"status"].decode()), int(fields.get(b"attempts", 0)))
