"""The files and batches of a server: what the HTTP layer calls, and the task that takes their next steps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable
from typing import Final

import orjson

from shortlist.batches.batch import BatchRecord, new_batch_id
from shortlist.batches.batch_records import BatchRecords
from shortlist.batches.batch_transitions import MAX_FILES
from shortlist.batches.file_records import FileRecord, FileRecords
from shortlist.batches.file_store import FileStore, new_name
from shortlist.batches.steps import BatchSteps
from shortlist.batches.stores import open_store
from shortlist.config import JobSettings
from shortlist.errors import FilesUnavailable, JobsUnavailable, NotFound, Overloaded, RequestTooLarge
from shortlist.jobs.job_service import JobService
from shortlist.jobs.transitions import PREFIX
from shortlist.schemas.openai_batches import BatchRequest
from shortlist.telemetry import logger

SETTLE_S: Final = 1.0
REPAIR_S: Final = 5.0
CLEAN_S: Final = 3600
"""Time between two looks of all servers for files that no record names."""

ORPHAN_S: Final = 3 * 86_400.0
"""Age of a file without a record at which it is removed: longer than a batch may take."""

MAX_UPLOADS: Final = 8
"""Uploads of one server at once: what may be stored beyond the limit of an owner."""

RETRY_UPLOAD_S: Final = 5.0

INPUT_PURPOSE: Final = "batch"


class BatchService:
    """Files and batches.

    Args:
        jobs: The durable jobs.
        settings: The settings.
        max_body_bytes: The longest line of an input.

    Raises:
        BadSetting: the store of files cannot be opened.
    """

    def __init__(self, jobs: JobService, settings: JobSettings, *, max_body_bytes: int) -> None:
        assert settings.job_files is not None, "There are no batches without files. This is a bug."
        self.store: FileStore = open_store(settings.job_files)
        self.max_file_bytes = settings.max_file_bytes
        self.ttl_s = float(settings.file_ttl_s)
        self.files = FileRecords(jobs.store)
        self.batches = BatchRecords(jobs)
        self._jobs = jobs
        self._max_caller_bytes = settings.max_caller_file_bytes
        self.steps = BatchSteps(
            self.batches,
            self.store,
            max_body_bytes=max_body_bytes,
            max_caller_bytes=settings.max_caller_file_bytes,
            ttl_s=self.ttl_s,
        )
        self._num_uploads = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the tasks beside the requests."""
        self._tasks = [asyncio.create_task(self._repeat(), name="batches settle")]

    async def close(self) -> None:
        """Stop the tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def store_bytes(self, owner: str, pieces: AsyncIterable[bytes]) -> tuple[str, int]:
        """Store the bytes of a file that has no record yet; return its name and its size.

        Raises:
            RequestTooLarge: the owner's files have reached their limit.
            Overloaded: too many uploads are running.
            FilesUnavailable, JobsUnavailable: the store or Redis does not answer.
        """
        if await self.files.num_bytes(owner) >= self._max_caller_bytes:
            raise self._full()
        if self._num_uploads >= MAX_UPLOADS:
            raise Overloaded(f"{MAX_UPLOADS} files are being uploaded; try again soon.", retry_after_s=RETRY_UPLOAD_S)
        name = new_name()
        self._num_uploads += 1
        try:
            return name, await self.store.put(name, pieces)
        finally:
            self._num_uploads -= 1

    async def add_file(self, owner: str, name: str, num_bytes: int, *, filename: str, ttl_s: float) -> FileRecord:
        """Make a stored file visible to its owner.

        Raises:
            RequestTooLarge: the owner's files would exceed their limit; the bytes are removed.
        """
        new = FileRecord(name, owner, num_bytes, filename, INPUT_PURPOSE, 0, 0)
        record = await self.files.create(new, max_bytes=self._max_caller_bytes, ttl_s=min(ttl_s, self.ttl_s))
        if record is None:
            await self.store.delete(name)
            raise self._full()
        return record

    async def file(self, file_id: str, owner: str) -> FileRecord:
        """Return a file of this owner.

        Raises:
            NotFound: there is none.
        """
        found = await self.files.read(file_id, owner)
        if found is None:
            raise NotFound("There is no such file, or it is another caller's.")
        return found

    async def delete_file(self, file_id: str, owner: str) -> None:
        """Remove a file.

        Raises:
            NotFound: the owner has no such file.
        """
        if not await self.files.delete(file_id, owner):
            raise NotFound("There is no such file, or it is another caller's.")
        await self.store.delete(file_id)

    async def batch(self, batch_id: str, owner: str) -> BatchRecord:
        """Return a batch of this owner.

        Raises:
            NotFound: there is none.
        """
        found = await self.batches.read(batch_id, owner)
        if found is None:
            raise NotFound("There is no such batch, or it is another caller's.")
        return found

    async def lease_owner(self, job_id: str, token: str) -> str | None:
        """Return the owner of a job that a worker holds with this token, or None if it is not held.

        Raises:
            JobsUnavailable: Redis does not answer.
        """
        return await self._jobs.store.owner_of(job_id, token)

    async def create_batch(self, owner: str, asked: BatchRequest) -> BatchRecord:
        """Create a batch. Once this returns, it ends, whatever dies."""
        expiry = asked.output_expires_after
        return await self.batches.create(
            new_batch_id(),
            owner,
            asked.input_file_id,
            endpoint=asked.endpoint,
            metadata=orjson.dumps(asked.metadata),
            output_ttl=round(1000 * min(expiry.seconds, self.ttl_s)) if expiry else "",
        )

    async def cancel_batch(self, batch_id: str, owner: str) -> BatchRecord:
        """Cancel a batch that has not ended. Lines that are done stay.

        Raises:
            NotFound: the owner has no such batch.
        """
        await self.batches.cancel(batch_id, owner)
        return await self.batch(batch_id, owner)

    def _full(self) -> RequestTooLarge:
        return RequestTooLarge(
            f"The files of this caller reach {self._max_caller_bytes} bytes (max_caller_file_bytes), or {MAX_FILES} files. "
            "Delete some, or wait until they expire."
        )

    async def _repeat(self) -> None:
        """Take next steps until cancelled. Any number of servers may do so."""
        from redis.exceptions import ResponseError

        loop = asyncio.get_running_loop()
        repair_at_s = loop.time()
        while True:
            try:
                await self.batches.settle()
                if loop.time() >= repair_at_s:
                    repair_at_s = loop.time() + REPAIR_S
                    await self.batches.repair()
                    await self._clean()
            except (JobsUnavailable, FilesUnavailable):
                pass  # the sweep of jobs reports Redis, the store itself; both are tried again
            except ResponseError:
                logger.exception("batches: a transition failed; batches wait until it works again")
            await asyncio.sleep(SETTLE_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads servers that started together

    async def _clean(self) -> None:
        """Remove files that have expired, and once an hour those that no record names."""
        for name in await self.files.delete_expired():
            await self.store.delete(name)
        redis = self._jobs.store.redis
        if not await self._jobs.store.call(lambda: redis.set(f"{PREFIX}files:cleaned", 1, nx=True, ex=CLEAN_S)):
            return
        num_removed = 0
        async for each in self.store.list_files():
            if each.age_s > ORPHAN_S and not await self.files.exists(each.name):
                await self.store.delete(each.name)
                num_removed += 1
        if num_removed:
            logger.info("files: what no record names was removed", extra={"files": num_removed})
