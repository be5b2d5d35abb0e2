"""A worker: takes jobs, asks a server, and writes its answers into the records. It computes nothing itself.

The server's admission stays the one judge of its load: when it refuses, the job goes back with the server's `Retry-After`, and
the slot rests as long. That is the peak shaving.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import httpx2

from shortlist.errors import EngineUnavailable, JobsUnavailable
from shortlist.jobs import records
from shortlist.jobs.doorbell import Doorbell
from shortlist.jobs.job import Lease, Result, Swept
from shortlist.jobs.records import JobStore, given_up
from shortlist.jobs.sweeper import Ringer, sweep_forever
from shortlist.schemas.errors import kind_of
from shortlist.telemetry import logger

Returned = TypeVar("Returned")

LEASE_HEADER: Final = "x-job-lease"
"""Says to the server which job a request is for, as ID:TOKEN. The owner was charged when it was accepted."""

CALL_TIMEOUT_S: Final = 900.0
"""Longest wait for an answer; the connection may be dead."""

CONNECT_TIMEOUT_S: Final = 5.0

DRAIN_S: Final = 20.0
"""After this, a ring counts as answered, and another one is rung: well within Celery's visibility timeout."""

DEAF_S: Final = 5.0
"""A job that has been due for longer is taken without a ring: the doorbell may be broken."""

STORE_AGAIN_S: Final = 0.3
"""Pause before a transition is tried again."""

MAX_DELAY_S: Final = 30.0
MAX_PAUSE_S: Final = 5.0

ANSWERED_COST: Final = 4
"""Cost of an attempt that a server answered with an error of its own: three of them, and the answer is the job's result."""

UNANSWERED_COST: Final = 1
"""Cost of an attempt whose server ended: it may have been killed for other reasons than this job."""

ENGINE_FAILED: Final = kind_of(EngineUnavailable).code.encode()
"""In the body of answers without an engine."""

DROPPED_HEADERS: Final = frozenset(
    {"connection", "content-encoding", "content-length", "date", "keep-alive", "server", "transfer-encoding", "x-request-id"}
)
"""Headers of one connection or request, which do not belong to the result."""


GIVEN_UP: Final = given_up("The job was given up: servers that were ready ended without an answer to it.")


@dataclass(frozen=True, slots=True)
class Postponed:
    """A job that has to be asked again.

    Attributes:
        delay_s: Seconds after which it is due.
        cost: As in `JobStore.retry`.
        rests: Whether the slot takes no other job meanwhile: the server has no capacity, or is not there.
        answer: The answer, if the server gave one: the result if this was one attempt too many.
    """

    delay_s: float
    cost: int
    rests: bool
    answer: Result | None = None


class Worker:
    """Takes jobs and asks a server.

    Args:
        url: The address of Redis.
        bell: The doorbell to listen to.
        bell_name: Its name.
        server: The address of the server, or of a proxy before several.
        api_key: The server's key.
        concurrency: How many jobs to work on at once.
    """

    def __init__(
        self, url: str, bell: Doorbell, *, bell_name: str, server: str, api_key: str | None = None, concurrency: int = 4
    ) -> None:
        self._url = url
        self._bell = bell
        self._bell_name = bell_name
        self._server = server
        self._headers = {"accept-encoding": "identity"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        self._concurrency = concurrency
        self._is_ready = threading.Event()

    def run(self) -> bool:
        """Work until SIGTERM or SIGINT; jobs at work are finished. Return whether nothing else ended it."""
        thread = threading.Thread(target=self._run_loop, name="jobs", daemon=True)
        thread.start()
        self._is_ready.wait()
        logger.info("jobs: the worker is ready", extra={"server": self._server, "slots": self._concurrency})
        try:
            self._bell.listen(self._answer, on_stop=self._stop, concurrency=self._concurrency)
        finally:
            self._stop()
            self._call_soon(self._is_over)
            thread.join()
        return not self._has_failed

    def _stop(self) -> None:
        """Take no more jobs."""
        self._call_soon(self._stopping)

    def _call_soon(self, event: asyncio.Event) -> None:
        """Set an event of the loop, from another thread."""
        with contextlib.suppress(RuntimeError):  # the loop has failed, and is closed
            self._loop.call_soon_threadsafe(event.set)

    def _run_loop(self) -> None:
        """Run the event loop. If it fails, the process ends: a worker without it would answer rings and do nothing."""
        self._has_failed = True
        try:
            asyncio.run(self._live())
            self._has_failed = False
        finally:
            self._is_ready.set()
            if self._has_failed:
                logger.error("jobs: the worker failed", exc_info=True)
                os.kill(os.getpid(), signal.SIGTERM)

    def _answer(self) -> None:
        """Answer one ring, in a thread of the doorbell."""
        asyncio.run_coroutine_threadsafe(self._drain(), self._loop).result()

    async def _live(self) -> None:
        """Hold what all slots share, until the worker ends."""
        self._loop = asyncio.get_running_loop()
        self._stopping, self._is_over = asyncio.Event(), asyncio.Event()
        self._slots = asyncio.Semaphore(self._concurrency)
        self._store = JobStore(self._url, doorbell=self._bell_name, lease_s=records.LEASE_S)
        self._ringer = Ringer(self._bell)
        timeout = httpx2.Timeout(CALL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        limits = httpx2.Limits(max_connections=2 * self._concurrency)
        async with (
            httpx2.AsyncClient(
                base_url=self._server, headers=self._headers, timeout=timeout, limits=limits, trust_env=False
            ) as self._client,
            asyncio.TaskGroup() as tasks,
        ):
            sweeping = tasks.create_task(sweep_forever(self._store, self._ringer, partial(self._take_unrung, tasks)))
            self._is_ready.set()
            await self._is_over.wait()
            sweeping.cancel()
        await self._ringer.close()
        await self._store.close()

    def _take_unrung(self, tasks: asyncio.TaskGroup, swept: Swept | None) -> None:
        """Take jobs without a ring if one has waited for long and a slot is free."""
        if swept is not None and swept.oldest_s > DEAF_S and not self._slots.locked() and not self._stopping.is_set():
            tasks.create_task(self._drain())

    async def _drain(self) -> None:
        """Take jobs until none is due. An unexpected error costs one job its lease, and not the worker its life."""
        async with self._slots:
            try:
                await self._take_all()
            except JobsUnavailable:
                pass  # the sweep rings when Redis is back
            except Exception:  # noqa: BLE001 - the outermost handler of a slot
                logger.exception("jobs: unexpected error")

    async def _take_all(self) -> None:
        """Take jobs until none is due, or long enough; ring for other slots when there are more."""
        until_s = time.monotonic() + DRAIN_S
        lease = None if self._stopping.is_set() else await self._store.take(is_answer=True)
        while lease is not None:
            if lease.must_ring:
                self._ringer.ring()
            await self._rest(await self._work(lease))
            if self._stopping.is_set() or time.monotonic() > until_s:
                self._ringer.ring()
                return
            lease = await self._store.take()

    async def _work(self, lease: Lease) -> float:
        """Ask the server for one job, and end or postpone it; return for how many seconds to rest."""
        asking = asyncio.ensure_future(self._ask(lease))
        beating = asyncio.ensure_future(self._beat(lease))
        try:
            await asyncio.wait({asking, beating}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                logger.warning("jobs: the lease was lost, or the job was cancelled", extra={"job": lease.job.id})
                return 0.0
            answer = asking.result()
            if isinstance(answer, Postponed):
                return await self._postpone(lease, answer)
            await self._finish(lease, answer)
            return 0.0
        finally:
            asking.cancel()
            beating.cancel()
            await asyncio.gather(asking, beating, return_exceptions=True)

    async def _beat(self, lease: Lease) -> None:
        """Extend a lease until it is lost. While Redis does not answer, the lease may be lost or not: `finish` finds out."""
        while True:
            await asyncio.sleep(records.BEAT_S)
            try:
                if not await self._store.beat(lease):
                    return
            except JobsUnavailable:
                continue

    async def _ask(self, lease: Lease) -> Result | Postponed:
        """Ask the server. A job that has failed waits until the server is ready, so that outages cost nothing."""
        job = lease.job
        delay_s = min(2.0 ** min(job.attempts - 1, 10), MAX_DELAY_S)
        headers = {
            "content-type": "application/json",
            "x-request-priority": "batch",
            "x-request-id": job.id,
            **job.headers,
            LEASE_HEADER: f"{job.id}:{lease.token}",
        }
        try:
            if job.failures and (await self._client.get("/ready")).status_code != httpx2.codes.OK:
                return Postponed(delay_s, cost=0, rests=True)
            response = await self._client.post(job.path, content=lease.body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
            return Postponed(1.0, cost=0, rests=True)
        except httpx2.HTTPError as error:
            logger.warning("jobs: the server did not answer", extra={"job": job.id, "error": type(error).__name__})
            return Postponed(delay_s, cost=UNANSWERED_COST, rests=False)
        return self._judged(response, delay_s)

    def _judged(self, response: httpx2.Response, delay_s: float) -> Result | Postponed:
        """Return the result that an answer is, or why it is none."""
        kept = {name: value for name, value in response.headers.items() if name not in DROPPED_HEADERS}
        answer = Result(response.status_code, kept, response.content)
        if response.is_success:
            return answer
        if (after := response.headers.get("retry-after")) is not None:  # busy, starting, stopping, without an engine
            cost = UNANSWERED_COST if ENGINE_FAILED in response.content else 0  # the job may be why it has none
            return Postponed(_seconds(after), cost=cost, rests=True, answer=answer)
        if response.status_code in {401, 403}:
            logger.error("jobs: the server refuses the worker; check --api-key", extra={"status": response.status_code})
            return Postponed(MAX_DELAY_S, cost=0, rests=True)
        if response.status_code in {408, 429} or response.status_code >= 500:
            return Postponed(delay_s, cost=ANSWERED_COST, rests=False, answer=answer)
        return answer

    async def _postpone(self, lease: Lease, postponed: Postponed) -> float:
        """Put a job back, or end it after one attempt too many; return for how many seconds to rest."""
        outcome = await _stored(lambda: self._store.retry(lease, delay_s=postponed.delay_s, cost=postponed.cost))
        if outcome == "spent":
            await self._finish(lease, postponed.answer or GIVEN_UP)
        return min(postponed.delay_s, MAX_PAUSE_S) if postponed.rests else 0.0

    async def _finish(self, lease: Lease, result: Result) -> None:
        has_failed = not 200 <= result.status < 300
        if not await _stored(lambda: self._store.finish(lease, result, has_failed=has_failed)):
            logger.warning("jobs: a result came after the lease was lost, and was dropped", extra={"job": lease.job.id})

    async def _rest(self, seconds: float) -> None:
        """Wait, but not longer than until the worker stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def _stored(call: Callable[[], Awaitable[Returned]]) -> Returned:
    """Repeat a transition while Redis does not answer, for as long as a lease: the work is done, and not to be lost.

    Raises:
        JobsUnavailable: Redis did not answer for so long.
    """
    until_s = time.monotonic() + records.LEASE_S
    while True:
        try:
            return await call()
        except JobsUnavailable:
            if time.monotonic() > until_s:
                raise
        await asyncio.sleep(STORE_AGAIN_S)


def _seconds(retry_after: str) -> float:
    """Return the seconds of a `Retry-After`; a date counts as the longest delay."""
    return min(float(retry_after), MAX_DELAY_S) if retry_after.isdecimal() else MAX_DELAY_S
