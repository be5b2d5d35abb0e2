"""The records of batches in Redis: the calls around `batch_transitions`, and the jobs of their steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from shortlist.batches import batch_transitions
from shortlist.batches.batch import STEP_PATH, WINDOW_S, BatchRecord, Chunk, Part, Progress, batch_of
from shortlist.errors import InvalidInput, NotFound, Overloaded
from shortlist.jobs.job import NewJob
from shortlist.jobs.job_service import JobService
from shortlist.jobs.transitions import PREFIX
from shortlist.schemas.openai_batches import BatchErrorDetail

MAX_OPEN: Final = 100
"""Batches of one owner that have not ended."""

RETRY_OPEN_S: Final = 60.0

MAX_SETTLED: Final = 100
"""Batches that one round takes on."""

STALE_S: Final = 3.0
"""A batch that has not moved for so long is looked at again."""

VALIDATING_S: Final = 120.0
"""An input that has been validated for so long is validated again: its job was given up."""


class OutputFile(NamedTuple):
    """A file that finalising a batch has written; without a name, there is none."""

    name: str = ""
    num_bytes: int = 0


class BatchRecords:
    """The records of all batches.

    Args:
        jobs: The jobs, in the same Redis.
    """

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs
        self._redis = jobs.store.redis
        names = ("CREATE_BATCH", "START", "FAIL", "HAND_OUT", "RECORD", "CANCEL_BATCH", "EXPIRE", "SEAL", "COMPLETE")
        self._scripts = {name: self._redis.register_script(getattr(batch_transitions, name)) for name in names}

    async def create(self, batch_id: str, owner: str, input_file: str, **fields: str | bytes | int) -> BatchRecord:
        """Create a batch, and the job that validates its input.

        Raises:
            NotFound: the owner has no such file.
            InvalidInput: the file is not for batches.
            Overloaded: the owner has too many open batches.
        """
        flat = [part for pair in fields.items() for part in pair]
        outcome, _ = await self._run("CREATE_BATCH", batch_id, owner, input_file, round(1000 * WINDOW_S), MAX_OPEN, *flat)
        if outcome == b"no_file":
            raise NotFound("There is no such file, or it is another caller's.", param="input_file_id")
        if outcome == b"purpose":
            raise InvalidInput("The file must have been uploaded with the purpose batch.", param="input_file_id")
        if outcome == b"too_many":
            message = f"This caller has {MAX_OPEN} batches that have not ended; wait for one, or cancel one."
            raise Overloaded(message, retry_after_s=RETRY_OPEN_S)
        await self._submit(batch_id, owner, "validate")
        return await self.known(batch_id)

    async def read(self, batch_id: str, owner: str) -> BatchRecord | None:
        """Return a batch of this owner."""
        batch = await self.find(batch_id)
        return batch if batch is not None and batch.owner == owner else None

    async def find(self, batch_id: str) -> BatchRecord | None:
        """Return a batch of any owner."""
        found = await self._jobs.store.call(lambda: self._redis.hgetall(_key(batch_id)))
        return batch_of(batch_id, found) if b"owner" in found else None

    async def known(self, batch_id: str) -> BatchRecord:
        """Return a batch that must be there.

        Raises:
            NotFound: it is not.
        """
        batch = await self.find(batch_id)
        if batch is None:
            raise NotFound("There is no such batch.")
        return batch

    async def list_batches(self, owner: str, *, after: str, limit: int) -> list[BatchRecord]:
        """Return batches of an owner, the last one first.

        Args:
            owner: The owner.
            after: The id of the batch behind which to begin; empty to begin at the first one.
            limit: Most batches to return.
        """
        key, first = f"{PREFIX}batches:of:{owner}", 0
        if after:
            rank = await self._jobs.store.call(lambda: self._redis.zrevrank(key, after))
            if rank is None:
                return []
            first = rank + 1
        found = await self._jobs.store.call(lambda: self._redis.zrevrange(key, first, first + limit - 1))
        ids = [each.decode() for each in found]
        pipeline: Any = self._redis.pipeline(transaction=False)
        for batch_id in ids:
            pipeline.hgetall(_key(batch_id))
        records = await self._jobs.store.call(pipeline.execute)
        if gone := [batch_id for batch_id, record in zip(ids, records, strict=True) if not record]:
            await self._jobs.store.call(lambda: self._redis.zrem(key, *gone))
        return [batch_of(batch_id, record) for batch_id, record in zip(ids, records, strict=True) if record]

    async def start(self, batch_id: str, num_lines: int, parts: Sequence[Part]) -> None:
        """Store the parts of a validated batch, and hand out the first ones."""
        if await self._run("START", batch_id, num_lines, len(parts), orjson.dumps([list(part) for part in parts])):
            await self.hand_out(batch_id)

    async def fail(self, batch_id: str, errors: Sequence[BatchErrorDetail]) -> None:
        """End a batch whose input is wrong."""
        await self._run("FAIL", batch_id, orjson.dumps(errors))

    async def hand_out(self, batch_id: str, *, num_ending: int = 0) -> None:
        """Accept jobs for further parts, up to the window.

        Args:
            batch_id: The batch.
            num_ending: Open parts that are about to end.
        """
        first, behind = await self._run("HAND_OUT", batch_id, num_ending)
        if behind > first:
            batch = await self.known(batch_id)
            await self._submit_parts(batch, range(first, behind))

    async def part(self, batch_id: str, number: int) -> Part:
        """Return a part of a batch."""
        return (await self.parts(batch_id))[number]

    async def parts(self, batch_id: str) -> list[Part]:
        """Return all parts of a batch; none before it has started, and after its end."""
        found = await self._jobs.store.call(lambda: self._redis.get(f"{_key(batch_id)}:plan"))
        return [Part(*each) for each in orjson.loads(found or b"[]")]

    async def progress(self, batch_id: str) -> dict[int, Progress]:
        """Return what is done of each part that was begun."""
        found = await self._jobs.store.call(lambda: self._redis.hgetall(f"{_key(batch_id)}:chunks"))
        lines: dict[int, int] = {}
        chunks: dict[int, dict[int, Chunk]] = {}
        for name, value in found.items():
            part, _, line = name.decode().partition(":")
            if line == "lines":
                lines[int(part)] = int(value)
            else:
                chunks.setdefault(int(part), {})[int(line)] = Chunk(*orjson.loads(value))
        return {part: Progress(num, [each for _, each in sorted(chunks[part].items())]) for part, num in lines.items()}

    async def num_done(self, batch_id: str, part: int) -> int:
        """Return how many lines of a part are done."""
        return int(await self._jobs.store.call(lambda: self._redis.hget(f"{_key(batch_id)}:chunks", f"{part}:lines")) or 0)

    async def record(
        self, batch_id: str, part: int, lines: range, *, num_completed: int, num_failed: int, chunk: Chunk, max_bytes: int
    ) -> bool:
        """Store that lines of a part are done; return whether they are these: an attempt that is late is refused."""
        num_bytes = chunk.output_bytes + chunk.failures_bytes
        found = await self._run(
            "RECORD",
            *(
                batch_id,
                part,
                lines.start,
                lines.stop,
                num_completed,
                num_failed,
                num_bytes,
                max_bytes,
                orjson.dumps(list(chunk)),
            ),
        )
        return bool(found)

    async def cancel(self, batch_id: str, owner: str) -> bool:
        """Cancel a batch that has not ended; return whether the owner has it."""
        return bool(await self._run("CANCEL_BATCH", batch_id, owner))

    async def seal(self, batch_id: str) -> bool:
        """Refuse further lines; return whether the batch is to be finalised."""
        return bool(await self._run("SEAL", batch_id))

    async def complete(self, batch_id: str, *, output: OutputFile, failures: OutputFile, num_failed: int, ttl_s: float) -> bool:
        """End a batch, and make its files visible; return whether this call did it."""
        arguments = (*output, *failures, num_failed, batch_id, round(1000 * ttl_s))
        return bool(await self._run("COMPLETE", batch_id, *arguments))

    async def settle(self) -> None:
        """Take the next step of every batch that waits for one: of those whose parts have ended, and those whose time has."""
        now_s, _ = await self._jobs.store.call(self._redis.time)
        ending = f"{PREFIX}batches:ending"
        for each in await self._jobs.store.call(lambda: self._redis.zrange(ending, 0, MAX_SETTLED - 1)):
            if await self._jobs.store.call(partial(self._redis.zrem, ending, each)):  # only one server takes it
                await self.advance(each.decode(), now_s)
        late = partial(self._redis.zrangebyscore, f"{PREFIX}batches:open", "-inf", 1000 * now_s, start=0, num=MAX_SETTLED)
        for each in await self._jobs.store.call(late):
            await self._run("EXPIRE", each)

    async def advance(self, batch_id: str, now_s: int) -> None:
        """Accept the jobs that a batch needs now. Idempotent."""
        batch = await self.find(batch_id)
        if batch is None or batch.is_ended:
            return
        if batch.is_ready_to_finish:
            await self._submit(batch_id, batch.owner, f"finish.{now_s // 60}")
        else:
            await self.hand_out(batch_id)

    async def repair(self) -> None:
        """Accept the jobs of batches that have not moved for some time: what a killed server had still to accept."""
        now_s, _ = await self._jobs.store.call(self._redis.time)
        for each in await self._jobs.store.call(lambda: self._redis.zrange(f"{PREFIX}batches:open", 0, -1)):
            moved = await self._jobs.store.call(partial(self._redis.hget, _key(each.decode()), "moved"))
            still_s = now_s - int(moved or 0) / 1000
            batch = await self.find(each.decode()) if still_s > STALE_S else None
            if batch is None or batch.is_ended:
                continue
            if batch.status == "validating" and still_s > VALIDATING_S:
                await self._submit(batch.id, batch.owner, f"validate.{now_s // 60}")
            await self._submit_parts(batch, await self._undone(batch))
            await self.advance(batch.id, now_s)

    async def _undone(self, batch: BatchRecord) -> list[int]:
        """Return the parts that were handed out and are not done."""
        parts, progress = await self.parts(batch.id), await self.progress(batch.id)
        done = {number for number, each in progress.items() if each.num_lines >= parts[number].num_lines}
        return [number for number in range(min(batch.num_handed_out, len(parts))) if number not in done]

    async def _submit_parts(self, batch: BatchRecord, numbers: Iterable[int]) -> None:
        for number in numbers:
            await self._submit(batch.id, batch.owner, f"p{number}", batch=batch.id)

    async def _submit(self, batch_id: str, owner: str, step: str, *, batch: str = "") -> None:
        new = NewJob(
            id=f"{batch_id}.{step}",
            owner=owner,
            path=STEP_PATH,
            body=b"{}",
            batch=batch,
            keeps_result=False,
            max_age_s=2 * WINDOW_S,
            ttl_s=WINDOW_S,
        )
        await self._jobs.submit(new)

    async def _run(self, script: str, *arguments: str | bytes | float) -> Any:
        keys = [f"{PREFIX}jobs"]
        return await self._jobs.store.call(lambda: self._scripts[script](keys=keys, args=list(arguments)))


def _key(batch_id: str) -> str:
    return f"{PREFIX}batch:{batch_id}"
