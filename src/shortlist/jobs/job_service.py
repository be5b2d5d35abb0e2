"""The jobs of a server: accept, read, cancel, follow; and its sweep."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Final

from shortlist.config import JobSettings
from shortlist.errors import JobsUnavailable
from shortlist.jobs.doorbells import doorbell
from shortlist.jobs.job import Event, Job, JobStatus, NewJob, Result, Swept
from shortlist.jobs.records import JobStore
from shortlist.jobs.sweeper import Ringer, sweep_forever
from shortlist.telemetry.job_state import JobStateCollector

COMMENT_S: Final = 15.0
"""Time without an event after which followers get a sign of life: proxies cut silent connections."""

NEWS_AGAIN_S: Final = 0.5
"""Pause before the news are subscribed again."""

LAST_EVENT: Final = "9999999999999-0"
"""Id of the last event of a job whose events were removed: after all ids of Redis."""


class JobService:
    """The jobs of a server. Workers and other servers share them through Redis.

    Args:
        url: The address of Redis.
        settings: The settings.
        state: Shows what the last sweep found, as metrics.

    Raises:
        BadSetting: a library is not installed, or the address is not one.
    """

    def __init__(self, url: str, settings: JobSettings, state: JobStateCollector) -> None:
        self.store = JobStore(url, doorbell=settings.job_doorbell)
        self.ttl_s = float(settings.job_ttl_s)
        self._ringer = Ringer(doorbell(settings.job_doorbell, url))
        self._state = state
        self._tasks: list[asyncio.Task[None]] = []
        self._followers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._is_leaving = False

    async def start(self) -> None:
        """Start the sweep, and listen to news. Idempotent."""
        if not self._tasks:
            self._tasks.append(asyncio.create_task(sweep_forever(self.store, self._ringer, self._swept), name="jobs sweep"))
            self._tasks.append(asyncio.create_task(self._listen(), name="jobs news"))

    async def submit(self, new: NewJob) -> Job:
        """Store a job, and ring. Once this returns, the job ends, whatever dies.

        Raises:
            IdempotencyConflict: the idempotency key belongs to another request.
            JobsUnavailable: Redis does not answer, or is full.
        """
        accepted = await self.store.accept(new)
        if accepted.must_ring:
            self._ringer.ring()
        if accepted.is_new:
            return accepted_job(new, accepted.created_ms)
        job = await self.store.read(accepted.job_id, new.owner)
        if job is None:
            raise JobsUnavailable("The job of this Idempotency-Key has just expired; send the request again.")
        return job

    async def follow(self, job: Job, after: str = "") -> AsyncIterator[Event | None]:
        """Yield the events of a job after this one, until it ends; None when there was nothing for a while.

        Ends early when the server stops; another server goes on after the last id. So it does when Redis does not answer.
        """
        with self._listening(job.id) as news, contextlib.suppress(JobsUnavailable):
            while not self._is_leaving:
                news.clear()  # before the look, so that later news wake up
                events = await self.store.events(job.id, after)
                for event in events:
                    yield event
                    after = event.id
                if events and events[-1].status.is_ended:
                    return
                if not events:
                    now = await self.store.read(job.id, job.owner)
                    if now is None or now.status.is_ended:  # its events were removed
                        yield Event(LAST_EVENT, JobStatus.CANCELLED if now is None else now.status, job.attempts)
                        return
                try:
                    async with asyncio.timeout(COMMENT_S):
                        await news.wait()
                except TimeoutError:
                    yield None

    async def has_seen_all(self, job: Job, after: str) -> bool:
        """Return whether a follower with this last event has nothing to wait for."""
        if after == LAST_EVENT:
            return True
        events = await self.store.events(job.id)
        return bool(events) and events[-1].status.is_ended and events[-1].id == after

    async def result(self, job: Job) -> Result | None:
        """Return the result of a job, if there is one."""
        return await self.store.result(job)

    def leave(self) -> None:
        """End all `follow`s: the server stops."""
        self._is_leaving = True
        self._wake_all()

    async def close(self) -> None:
        """Stop the sweep, and close every connection. Jobs go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._ringer.close()
        await self.store.close()

    def _swept(self, swept: Swept | None) -> None:
        if swept is None:
            self._state.lost()
        else:
            self._state.update(
                waiting=swept.num_waiting,
                waiting_tokens=swept.num_waiting_tokens,
                oldest_s=swept.oldest_s,
                running=swept.num_running,
                counts=swept.counts,
            )

    async def _listen(self) -> None:
        """Wake followers by news. News may be lost with their connection, so all are woken after each new one."""
        while True:
            is_first = True
            async for job_id in self.store.news():
                if job_id is not None:
                    self._wake(job_id)
                if is_first:
                    self._wake_all()
                is_first = False
            await asyncio.sleep(NEWS_AGAIN_S)

    def _wake(self, job_id: str) -> None:
        for follower in self._followers.get(job_id, ()):
            follower.set()

    def _wake_all(self) -> None:
        for followers in self._followers.values():
            for follower in followers:
                follower.set()

    @contextlib.contextmanager
    def _listening(self, job_id: str) -> Iterator[asyncio.Event]:
        news = asyncio.Event()
        self._followers[job_id].add(news)
        try:
            yield news
        finally:
            self._followers[job_id].discard(news)
            if not self._followers[job_id]:
                del self._followers[job_id]


def accepted_job(new: NewJob, created_ms: int) -> Job:
    """Return a job as it is right after its acceptance, without another look at Redis."""
    return Job(
        id=new.id,
        status=JobStatus.QUEUED,
        owner=new.owner,
        path=new.path,
        created_ms=created_ms,
        finished_ms=0,
        attempts=0,
        failures=0,
        headers=new.headers,
        webhook=new.webhook,
        batch=new.batch,
        keeps_result=new.keeps_result,
        http_status=0,
        http_headers={},
    )
