"""Jobs and batches for both clients: submit, follow, wait, list, cancel. `job_calls` and `job_events` build and parse."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Final, TypeVar, overload

import httpx2

from shortlist.client import job_calls
from shortlist.client.http_session import AsyncSession, BlockingSession, Budget
from shortlist.client.job_calls import BATCH_ENDED, BatchPlan, SubmittedJob
from shortlist.client.job_events import READ_TIMEOUT_S, EventFollower, JobUpdate
from shortlist.client.progress import Bar
from shortlist.client.results import Embedded, Embeddings, EmbedRequest, Ranking, Reranked, RerankRequest
from shortlist.errors import ServiceError
from shortlist.schemas.openai_batches import BatchAnswer

T = TypeVar("T")

Updates = Generator[JobUpdate, None, None]
AsyncUpdates = AsyncGenerator[JobUpdate, None]

BATCH_TITLE: Final = "batch"
FIRST_POLL_S: Final = 0.25
MAX_POLL_S: Final = 5.0
"""Time between two looks at a batch: it begins with the first, and doubles up to the second."""


class JobMethods(BlockingSession):
    """The methods of `Client` for work that is computed later. A server takes it with `--jobs` only."""

    @overload
    def submit(
        self,
        request: RerankRequest,
        *,
        webhook: str | None = ...,
        idempotency_key: str | None = ...,
        timeout_s: float | None = ...,
    ) -> SubmittedJob[Ranking]: ...
    @overload
    def submit(
        self,
        request: EmbedRequest,
        *,
        webhook: str | None = ...,
        idempotency_key: str | None = ...,
        timeout_s: float | None = ...,
    ) -> SubmittedJob[Embeddings]: ...
    def submit(
        self,
        request: RerankRequest | EmbedRequest,
        *,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> SubmittedJob[Ranking] | SubmittedJob[Embeddings]:
        """Submit a request as a job, and return it once it is stored: it then ends whatever dies.

        Args:
            request: The request.
            webhook: URL that is told the end of the job, if the server allows it.
            idempotency_key: The caller's name for this request: sent again, it is the same job. None means a new one.
            timeout_s: Timeout of this call in seconds, retries included; None means the client's default.

        Raises:
            ServiceError: the server's error, or `EngineUnavailable` if no server answered.
        """
        call = job_calls.request_call(request)
        return self._call(job_calls.submit_call(call, webhook=webhook, idempotency_key=idempotency_key), timeout_s)

    def job(self, job_id: str) -> SubmittedJob[object]:
        """Return a job by its id; its result is read as JSON."""
        return self._call(job_calls.job_call(job_id), None)

    def jobs(self) -> list[SubmittedJob[object]]:
        """Return up to 100 of the caller's jobs: those that have not ended, then those that ended last."""
        return self._call(job_calls.jobs_call(), None)

    def result(self, job: SubmittedJob[T]) -> T:
        """Return the result of a job that has ended.

        Raises:
            ServiceError: the error that its request ended with; `NotReady` before its end.
        """
        return self._call(job_calls.result_call(job), None)

    def cancel(self, job: SubmittedJob[T]) -> None:
        """Cancel a job, and remove its texts and its result from the server."""
        self._call(job_calls.cancel_call(job.id), None)

    def webhook_secret(self, *, rotate: bool = False) -> str:
        """Return the secret that the caller's webhooks are signed with.

        Args:
            rotate: Whether to replace it; for a day, the previous one signs, too.
        """
        return self._call(job_calls.secret_call(rotate=rotate), None)

    def wait(self, job: SubmittedJob[T], *, timeout_s: float | None = None) -> T:
        """Return the result of a job as soon as it has one. Servers may restart meanwhile.

        Args:
            job: The job.
            timeout_s: Seconds after which to give up waiting; None waits until it ends.

        Raises:
            DeadlineExceeded: it has not ended in time; it goes on, and can be waited for again.
            ServiceError: the error that its request ended with.
        """
        for _ in self.events(job, timeout_s=timeout_s):
            pass
        return self.result(job)

    def events(self, job: SubmittedJob[T], *, after: str = "", timeout_s: float | None = None) -> Updates:
        """Yield the changes of a job up to its end, each once, over any number of connections.

        Args:
            job: The job.
            after: The id of the last event that is known; an empty one means all events.
            timeout_s: Seconds after which to give up; None follows it until it ends.

        Raises:
            DeadlineExceeded: it has not ended in time.
            ServiceError: the server's error.
        """
        follower, budget = EventFollower(job.id, after), Budget(math.inf if timeout_s is None else timeout_s)
        while True:
            request = self._request(follower.call(), budget.up_to(READ_TIMEOUT_S))
            with suppress(httpx2.RequestError):  # the next connection goes on after the last event
                yield from self._follow(request, follower, budget)
            if follower.has_ended:
                return
            time.sleep(min(follower.pause_s(), max(0.0, budget.remaining_s)))

    def _follow(self, request: httpx2.Request, follower: EventFollower, budget: Budget) -> Updates:
        response = self._http.send(request, stream=True)
        try:
            if response.status_code != httpx2.codes.OK:
                response.read()
                follower.check(response)
                return
            for chunk in response.iter_raw():
                yield from follower.feed(chunk)
                if follower.has_ended or budget.remaining_s <= 0:
                    return
        finally:
            response.close()

    @overload
    def batch(
        self, requests: Sequence[RerankRequest], *, progress: bool = ..., timeout_s: float | None = ...
    ) -> Generator[Reranked, None, None]: ...
    @overload
    def batch(
        self, requests: Sequence[EmbedRequest], *, progress: bool = ..., timeout_s: float | None = ...
    ) -> Generator[Embedded, None, None]: ...
    def batch(
        self,
        requests: Sequence[RerankRequest] | Sequence[EmbedRequest],
        *,
        progress: bool = False,
        timeout_s: float | None = None,
    ) -> Generator[Reranked | Embedded, None, None]:
        """Compute many requests as one batch, and yield their outcomes, in any order; a failed one does not stop the others.

        The batch goes through the server's files, which are removed when all outcomes are read. If the generator is closed
        before the batch has ended, the batch is cancelled.

        Args:
            requests: Rerank requests, or embedding requests.
            progress: Whether to show a progress bar on standard error, if it is a terminal.
            timeout_s: Timeout of each call in seconds, the upload included; None means the client's default.

        Raises:
            ServiceError: the server's error.
        """
        plan = BatchPlan(requests)
        file = self._call(plan.upload_call(), timeout_s)
        files = [file["id"]]
        try:
            batch = self._finished(self._call(plan.create_call(file), timeout_s), plan, progress=progress)
            files += job_calls.output_files(batch)
            for line in self.batch_lines(batch, timeout_s=timeout_s):
                yield plan.outcome(line)
        finally:
            for file_id in files:
                with suppress(ServiceError):  # files expire by themselves
                    self._call(job_calls.remove_file_call(file_id), timeout_s)

    def batches(self) -> list[BatchAnswer]:
        """Return up to 100 of the caller's batches, as OpenAI describes them, the newest first."""
        return self._call(job_calls.batches_call(), None)

    def batch_status(self, batch_id: str) -> BatchAnswer:
        """Return a batch, as OpenAI describes it."""
        return self._call(job_calls.batch_call(batch_id), None)

    def batch_lines(self, batch: BatchAnswer, *, timeout_s: float | None = None) -> Generator[bytes, None, None]:
        """Yield the lines of the output file and the error file of a batch that has ended.

        Raises:
            InvalidInput: the input of the batch was refused.
        """
        if (error := job_calls.batch_error(batch)) is not None:
            raise error
        for file_id in job_calls.output_files(batch):
            yield from self._call(job_calls.content_call(file_id), timeout_s)

    def cancel_batch(self, batch_id: str) -> None:
        """Cancel a batch; lines that are done stay in its files."""
        self._call(job_calls.cancel_batch_call(batch_id), None)

    def _finished(self, batch: BatchAnswer, plan: BatchPlan, *, progress: bool) -> BatchAnswer:
        """Return a batch that has ended."""
        poll_s = FIRST_POLL_S
        with ExitStack() as undo:
            undo.callback(self._give_up, batch["id"])
            with Bar(BATCH_TITLE, plan.num_requests, is_wanted=progress) as bar:
                while batch["status"] not in BATCH_ENDED:
                    time.sleep(poll_s)
                    poll_s = min(2 * poll_s, MAX_POLL_S)
                    batch = self.batch_status(batch["id"])
                    bar.advance(job_calls.num_done(batch) - bar.num_done)
            undo.pop_all()
        return batch

    def _give_up(self, batch_id: str) -> None:
        """Cancel a batch that is not waited for any more; the error that ended the wait is the one to raise."""
        with suppress(ServiceError):
            self.cancel_batch(batch_id)


class AsyncJobMethods(AsyncSession):
    """The methods of `AsyncClient` for work that is computed later. As `JobMethods`, awaited."""

    @overload
    async def submit(
        self,
        request: RerankRequest,
        *,
        webhook: str | None = ...,
        idempotency_key: str | None = ...,
        timeout_s: float | None = ...,
    ) -> SubmittedJob[Ranking]: ...
    @overload
    async def submit(
        self,
        request: EmbedRequest,
        *,
        webhook: str | None = ...,
        idempotency_key: str | None = ...,
        timeout_s: float | None = ...,
    ) -> SubmittedJob[Embeddings]: ...
    async def submit(
        self,
        request: RerankRequest | EmbedRequest,
        *,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> SubmittedJob[Ranking] | SubmittedJob[Embeddings]:
        """Submit a request as a job. As `Client.submit`."""
        call = job_calls.request_call(request)
        return await self._call(job_calls.submit_call(call, webhook=webhook, idempotency_key=idempotency_key), timeout_s)

    async def job(self, job_id: str) -> SubmittedJob[object]:
        """Return a job by its id. As `Client.job`."""
        return await self._call(job_calls.job_call(job_id), None)

    async def jobs(self) -> list[SubmittedJob[object]]:
        """Return the caller's jobs. As `Client.jobs`."""
        return await self._call(job_calls.jobs_call(), None)

    async def result(self, job: SubmittedJob[T]) -> T:
        """Return the result of a job that has ended. As `Client.result`."""
        return await self._call(job_calls.result_call(job), None)

    async def cancel(self, job: SubmittedJob[T]) -> None:
        """Cancel a job. As `Client.cancel`."""
        await self._call(job_calls.cancel_call(job.id), None)

    async def webhook_secret(self, *, rotate: bool = False) -> str:
        """Return the secret that the caller's webhooks are signed with. As `Client.webhook_secret`."""
        return await self._call(job_calls.secret_call(rotate=rotate), None)

    async def wait(self, job: SubmittedJob[T], *, timeout_s: float | None = None) -> T:
        """Return the result of a job as soon as it has one. As `Client.wait`."""
        async for _ in self.events(job, timeout_s=timeout_s):
            pass
        return await self.result(job)

    async def events(self, job: SubmittedJob[T], *, after: str = "", timeout_s: float | None = None) -> AsyncUpdates:
        """Yield the changes of a job up to its end. As `Client.events`."""
        follower, budget = EventFollower(job.id, after), Budget(math.inf if timeout_s is None else timeout_s)
        while True:
            request = self._request(follower.call(), budget.up_to(READ_TIMEOUT_S))
            with suppress(httpx2.RequestError):  # the next connection goes on after the last event
                async for event in self._follow(request, follower, budget):
                    yield event
            if follower.has_ended:
                return
            await asyncio.sleep(min(follower.pause_s(), max(0.0, budget.remaining_s)))

    async def _follow(self, request: httpx2.Request, follower: EventFollower, budget: Budget) -> AsyncUpdates:
        response = await self._http.send(request, stream=True)
        try:
            if response.status_code != httpx2.codes.OK:
                await response.aread()
                follower.check(response)
                return
            async for chunk in response.aiter_raw():
                for event in follower.feed(chunk):
                    yield event
                if follower.has_ended or budget.remaining_s <= 0:
                    return
        finally:
            await response.aclose()

    @overload
    def batch(
        self, requests: Sequence[RerankRequest], *, progress: bool = ..., timeout_s: float | None = ...
    ) -> AsyncGenerator[Reranked, None]: ...
    @overload
    def batch(
        self, requests: Sequence[EmbedRequest], *, progress: bool = ..., timeout_s: float | None = ...
    ) -> AsyncGenerator[Embedded, None]: ...
    async def batch(
        self,
        requests: Sequence[RerankRequest] | Sequence[EmbedRequest],
        *,
        progress: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[Reranked | Embedded, None]:
        """Compute many requests as one batch, and yield their outcomes, in any order. As `Client.batch`."""
        plan = BatchPlan(requests)
        file = await self._call(plan.upload_call(), timeout_s)
        files = [file["id"]]
        try:
            batch = await self._finished(await self._call(plan.create_call(file), timeout_s), plan, progress=progress)
            files += job_calls.output_files(batch)
            async for line in self.batch_lines(batch, timeout_s=timeout_s):
                yield plan.outcome(line)
        finally:
            for file_id in files:
                with suppress(ServiceError):  # files expire by themselves
                    await self._call(job_calls.remove_file_call(file_id), timeout_s)

    async def batches(self) -> list[BatchAnswer]:
        """Return up to 100 of the caller's batches. As `Client.batches`."""
        return await self._call(job_calls.batches_call(), None)

    async def batch_status(self, batch_id: str) -> BatchAnswer:
        """Return a batch. As `Client.batch_status`."""
        return await self._call(job_calls.batch_call(batch_id), None)

    async def batch_lines(self, batch: BatchAnswer, *, timeout_s: float | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the lines of the files of a batch that has ended. As `Client.batch_lines`."""
        if (error := job_calls.batch_error(batch)) is not None:
            raise error
        for file_id in job_calls.output_files(batch):
            for line in await self._call(job_calls.content_call(file_id), timeout_s):
                yield line

    async def cancel_batch(self, batch_id: str) -> None:
        """Cancel a batch. As `Client.cancel_batch`."""
        await self._call(job_calls.cancel_batch_call(batch_id), None)

    async def _finished(self, batch: BatchAnswer, plan: BatchPlan, *, progress: bool) -> BatchAnswer:
        """Return a batch that has ended."""
        poll_s = FIRST_POLL_S
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._give_up, batch["id"])
            with Bar(BATCH_TITLE, plan.num_requests, is_wanted=progress) as bar:
                while batch["status"] not in BATCH_ENDED:
                    await asyncio.sleep(poll_s)
                    poll_s = min(2 * poll_s, MAX_POLL_S)
                    batch = await self.batch_status(batch["id"])
                    bar.advance(job_calls.num_done(batch) - bar.num_done)
            undo.pop_all()
        return batch

    async def _give_up(self, batch_id: str) -> None:
        """Cancel a batch that is not waited for any more; the error that ended the wait is the one to raise."""
        with suppress(ServiceError):
            await self.cancel_batch(batch_id)
