"""The records of files in Redis: whose they are, how large, for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shortlist.batches import batch_transitions
from shortlist.jobs.records import JobStore
from shortlist.jobs.transitions import PREFIX

MAX_EXPIRED: Final = 100
"""Expired files that one sweep removes."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as its record says it is.

    Attributes:
        id: Its id, and its name in the store.
        owner: Who may see and delete it.
        num_bytes: Its size.
        filename: What its owner calls it.
        purpose: `batch` of inputs, `batch_output` of results.
        created_ms: When it was stored, by Redis' clock; unit: milliseconds since 1970.
        expires_ms: When it is removed.
    """

    id: str
    owner: str
    num_bytes: int
    filename: str
    purpose: str
    created_ms: int
    expires_ms: int


class FileRecords:
    """The records of all files.

    Args:
        jobs: The records of jobs, in the same Redis.
    """

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._redis = jobs.redis
        self._create = jobs.redis.register_script(batch_transitions.CREATE_FILE)
        self._delete = jobs.redis.register_script(batch_transitions.DELETE_FILE)

    async def create(self, file: FileRecord, *, max_bytes: int, ttl_s: float) -> FileRecord | None:
        """Store a record, with the times of Redis; None if its owner would have more than `max_bytes`."""
        created = await self._jobs.call(
            lambda: self._create(
                keys=[f"{PREFIX}jobs"],
                args=[file.id, file.owner, file.num_bytes, max_bytes, file.filename, file.purpose, round(1000 * ttl_s)],
            )
        )
        return await self.read(file.id, file.owner) if created else None

    async def read(self, file_id: str, owner: str) -> FileRecord | None:
        """Return a file of this owner."""
        found = await self._jobs.call(lambda: self._redis.hgetall(f"{PREFIX}file:{file_id}"))
        file = _file(file_id, found) if found else None
        return file if file is not None and file.owner == owner else None

    async def list_files(self, owner: str) -> list[FileRecord]:
        """Return all files of an owner, the last one first."""
        ids = [
            each.decode() for each in await self._jobs.call(lambda: self._redis.zrevrange(f"{PREFIX}files:of:{owner}", 0, -1))
        ]
        pipeline: Any = self._redis.pipeline(transaction=False)
        for file_id in ids:
            pipeline.hgetall(f"{PREFIX}file:{file_id}")
        records: Sequence[Mapping[bytes, bytes]] = await self._jobs.call(pipeline.execute)
        return [_file(file_id, record) for file_id, record in zip(ids, records, strict=True) if record]

    async def num_bytes(self, owner: str) -> int:
        """Return the size of all files of an owner, parts of running batches included."""
        return int(await self._jobs.call(lambda: self._redis.hget(f"{PREFIX}files:bytes", owner)) or 0)

    async def delete(self, file_id: str, owner: str) -> bool:
        """Remove the record of a file; return whether the owner had it."""
        return bool(await self._jobs.call(lambda: self._delete(keys=[f"{PREFIX}jobs"], args=[file_id, owner, 0])))

    async def delete_expired(self) -> list[str]:
        """Remove the records of some expired files; return their ids."""
        now_s, _ = await self._jobs.call(self._redis.time)
        key = f"{PREFIX}files:expiring"
        ids = await self._jobs.call(lambda: self._redis.zrangebyscore(key, "-inf", 1000 * now_s, start=0, num=MAX_EXPIRED))
        return [each.decode() for each in ids if await self._delete_if_expired(each)]

    async def _delete_if_expired(self, file_id: bytes) -> bool:
        return bool(await self._jobs.call(lambda: self._delete(keys=[f"{PREFIX}jobs"], args=[file_id, "", 1])))

    async def exists(self, file_id: str) -> bool:
        """Return whether a file of this id has a record."""
        return bool(await self._jobs.call(lambda: self._redis.exists(f"{PREFIX}file:{file_id}")))


def _file(file_id: str, record: Mapping[bytes, bytes]) -> FileRecord:
    text = {name.decode(): value.decode() for name, value in record.items()}
    return FileRecord(
        id=file_id,
        owner=text["owner"],
        num_bytes=int(text["bytes"]),
        filename=text["filename"],
        purpose=text["purpose"],
        created_ms=int(text["created"]),
        expires_ms=int(text["expires"]),
    )
