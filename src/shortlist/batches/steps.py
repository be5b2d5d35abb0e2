"""The steps of a batch, which jobs run on a server: validate the input, run a part of its lines, put the output together.

A step may be run again, and by two servers at once: what it has done is in the records.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple
from uuid import uuid4

import orjson

from shortlist.batches.batch import BatchRecord, Chunk, Part, Progress, Step
from shortlist.batches.batch_records import BatchRecords, OutputFile
from shortlist.batches.file_store import FileStore, new_name, whole
from shortlist.batches.input_lines import InputCheck, InputLine, non_empty, parse_line
from shortlist.errors import NotFound, Overloaded
from shortlist.schemas.openai_batches import BatchLineAnswer
from shortlist.telemetry import logger

FEED_BYTES: Final = 1 << 16
"""Bytes of an input that are checked at once: for so long, a thread holds Python's lock."""

LINES_AT_ONCE: Final = 4
"""Lines of a part that are at work at once."""

PART_S: Final = 120.0
"""After so long, a part stores what it has done, and its job is queued again: within the worker's timeout."""

STATUS_EVERY_S: Final = 0.5
"""A part looks so often whether its batch was cancelled."""

TOO_MANY_REQUESTS: Final = 429

LEASE_LOST: Final = frozenset({401, 403})
"""Statuses of lines whose job another worker holds by now, or whose key was removed: no answers to the lines."""

MAX_WAIT_S: Final = 5.0
"""Longest pause before a line that was refused is sent again."""

BEHIND_S: Final = 1.0
"""`Retry-After` of a part that has more to do."""

LEFT_OUT: Final = {
    "cancelled": ("batch_cancelled", "The batch was cancelled before this line was done."),
    "expired": ("batch_expired", "The batch expired before this line was done."),
    "storage_full": ("storage_full", "The files of this caller reached the limit (max_caller_file_bytes)."),
    "": ("not_run", "The part of the batch with this line was given up: its servers ended too often."),
}
"""Code and message of lines without an answer, by `BatchRecord.ending`."""

INPUT_GONE: Final = "The input file was removed."


class LineAnswer(NamedTuple):
    """The answer of the server to a line.

    Attributes:
        status: HTTP status.
        retry_after_s: Seconds after which to send the line again; None if the answer is final.
        request_id: The id of the request.
        body: JSON.
    """

    status: int
    retry_after_s: float | None
    request_id: str
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the line goes to the output file."""
        return 200 <= self.status < 300


Ask = Callable[[str, bytes, str], Awaitable[LineAnswer]]
"""Sends a body to a path of this server, with a request id."""


class BatchSteps:
    """Runs steps.

    Args:
        records: The records of batches.
        files: The store of their files.
        max_body_bytes: The longest line.
        max_caller_bytes: Bytes that the files of one owner may have.
        ttl_s: How long output is kept, if the batch does not say.
    """

    def __init__(
        self, records: BatchRecords, files: FileStore, *, max_body_bytes: int, max_caller_bytes: int, ttl_s: float
    ) -> None:
        self._records = records
        self._files = files
        self._max_body_bytes = max_body_bytes
        self._max_caller_bytes = max_caller_bytes
        self._ttl_s = ttl_s

    async def run(self, step: Step, ask: Ask, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """Run a step.

        Args:
            step: What to do.
            ask: Sends a line.
            is_stopping: Returns whether to stop soon, and to store what is done.

        Raises:
            Overloaded: it has more to do, or this server cannot do it now; what is done is stored.
        """
        batch = await self._records.find(step.batch_id)
        if batch is None or batch.is_ended:
            return
        match step.kind:
            case "validate":
                await self._validate(batch)
            case "part":
                await self._run_part(batch, step.part, ask, is_stopping)
            case "finish":
                await self._finish(batch)

    async def _validate(self, batch: BatchRecord) -> None:
        check = InputCheck(batch.endpoint, self._max_body_bytes)
        try:
            async for piece in self._files.read(batch.input_file):
                for start in range(0, len(piece), FEED_BYTES):
                    await asyncio.to_thread(check.feed, piece[start : start + FEED_BYTES])
        except NotFound:
            error = {"code": "file_not_found", "line": None, "message": INPUT_GONE, "param": "input_file_id"}
            await self._records.fail(batch.id, [error])  # type: ignore[list-item] # mypy infers a plain dictionary
            return
        check.close()
        if check.errors:
            await self._records.fail(batch.id, check.errors)
        else:
            await self._records.start(batch.id, check.num_lines, check.parts)

    async def _run_part(self, batch: BatchRecord, number: int, ask: Ask, is_stopping: Callable[[], bool]) -> None:
        parts = await self._records.parts(batch.id)
        first = await self._records.num_done(batch.id, number)
        if batch.status == "in_progress" and number < len(parts) and first < parts[number].num_lines:
            lines = await self._lines(batch, parts[number])
            run = _PartRun(lines[first:], batch, ask, self._records, self._max_body_bytes)
            run.is_stopping = is_stopping
            num_done = await self._store(batch, number, first, run)
            if first + num_done < len(lines) and run.has_more:
                raise run.refusal or Overloaded("The part of the batch has more lines.", retry_after_s=BEHIND_S)
        await self._records.hand_out(batch.id, num_ending=1)

    async def _store(self, batch: BatchRecord, number: int, first: int, run: _PartRun) -> int:
        """Store the answers of a run, and record them; return how many lines they are."""
        output, failures = new_name(), new_name()
        async with aclosing(run.answers()) as answers:  # an error of the store ends the lines that are at work
            output_bytes = await self._files.put(output, answers)
        failures_bytes = await self._put_lines(failures, run.failures)
        if not output_bytes:
            await self._files.delete(output)
        chunk = Chunk(output if output_bytes else "", output_bytes, failures if failures_bytes else "", failures_bytes)
        is_recorded = run.num_done > 0 and await self._records.record(
            batch.id,
            number,
            range(first, first + run.num_done),
            num_completed=run.num_done - len(run.failures),
            num_failed=len(run.failures),
            chunk=chunk,
            max_bytes=self._max_caller_bytes,
        )
        if not is_recorded:
            await self._delete([chunk])
        return run.num_done

    async def _finish(self, batch: BatchRecord) -> None:
        if not await self._records.seal(batch.id):
            return
        batch = await self._records.known(batch.id)
        parts, progress = await self._records.parts(batch.id), await self._records.progress(batch.id)
        chunks = [chunk for _, done in sorted(progress.items()) for chunk in done.chunks]
        output, failures = OutputFile(new_name()), OutputFile(new_name())
        left_out = _LeftOut()
        output = output._replace(num_bytes=await self._files.put(output.name, self._joined([each.output for each in chunks])))
        errors = self._errors(batch, parts, progress, left_out)
        failures = failures._replace(num_bytes=await self._files.put(failures.name, errors))
        kept = [each if each.num_bytes else OutputFile() for each in (output, failures)]
        is_done = await self._records.complete(
            batch.id, output=kept[0], failures=kept[1], num_failed=batch.num_failed + left_out.num_lines, ttl_s=self._ttl_s
        )
        for written, used in zip((output, failures), kept, strict=True):
            if not is_done or not used.name:
                await self._files.delete(written.name)
        if is_done:
            await self._delete(chunks)

    async def _errors(
        self, batch: BatchRecord, parts: Sequence[Part], progress: dict[int, Progress], left_out: _LeftOut
    ) -> AsyncIterator[bytes]:
        """Yield the lines that failed, and those without an answer."""
        for number, part in enumerate(parts):
            done = progress.get(number, Progress(0, ()))
            async for piece in self._joined([each.failures for each in done.chunks]):
                yield piece
            if done.num_lines < part.num_lines:
                code, message = LEFT_OUT[batch.ending]
                for line in (await self._lines_if_there(batch, part))[done.num_lines :]:
                    left_out.num_lines += 1
                    yield _line(_custom_id(line, batch, self._max_body_bytes), None, code, message)

    async def _lines(self, batch: BatchRecord, part: Part) -> list[bytes]:
        return non_empty(await whole(self._files.read(batch.input_file, part.start, part.end)))

    async def _lines_if_there(self, batch: BatchRecord, part: Part) -> list[bytes]:
        try:
            return await self._lines(batch, part)
        except NotFound:
            return []

    async def _joined(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """Yield files one after the other. One that is gone is left out: the store has lost it, or the batch has just ended."""
        for name in filter(None, names):
            try:
                async for piece in self._files.read(name):
                    yield piece
            except NotFound:
                logger.error("batches: a part of an output is missing in the store", extra={"file": name})

    async def _put_lines(self, name: str, lines: Sequence[bytes]) -> int:
        async def pieces() -> AsyncIterator[bytes]:
            for line in lines:
                yield line

        return await self._files.put(name, pieces()) if lines else 0

    async def _delete(self, chunks: Sequence[Chunk]) -> None:
        for name in (name for chunk in chunks for name in (chunk.output, chunk.failures) if name):
            await self._files.delete(name)


class _LeftOut:
    """Counts lines without an answer."""

    num_lines = 0


class _PartRun:
    """One run over lines of a part, in order.

    Attributes:
        failures: The lines that failed.
        num_done: Lines that have an answer.
        has_more: Whether the rest is to be run by another attempt; not if the batch was ended.
        refusal: The error that ended the run early.
        is_stopping: Returns whether the server stops.
    """

    is_stopping: Callable[[], bool]

    def __init__(
        self, lines: Sequence[bytes], batch: BatchRecord, ask: Ask, records: BatchRecords, max_body_bytes: int
    ) -> None:
        self.failures: list[bytes] = []
        self.num_done = 0
        self.has_more = True
        self.refusal: Overloaded | None = None
        self._lines = lines
        self._batch = batch
        self._ask = ask
        self._records = records
        self._max_body_bytes = max_body_bytes
        self._until_s = time.monotonic() + PART_S
        self._look_at_s = time.monotonic() + STATUS_EVERY_S

    async def answers(self) -> AsyncGenerator[bytes]:
        """Yield the lines of the output file, as they are done. Some lines are at work at once; their order is kept."""
        waiting = deque(self._lines)
        running: deque[tuple[InputLine, asyncio.Task[LineAnswer | None]]] = deque()
        try:
            while waiting or running:
                while waiting and len(running) < LINES_AT_ONCE:
                    line = parse_line(waiting.popleft(), self._batch.endpoint, self._max_body_bytes)
                    running.append((line, asyncio.create_task(self._answer(line))))
                line, task = running.popleft()
                answer = await task
                if answer is None:
                    return
                self.num_done += 1
                text = _line(line.custom_id, answer)
                if answer.is_success:
                    yield text
                else:
                    self.failures.append(text)
        finally:
            for _, task in running:
                task.cancel()
            await asyncio.gather(*(task for _, task in running), return_exceptions=True)

    async def _answer(self, line: InputLine) -> LineAnswer | None:
        """Return the answer to a line, or None if the run is over before there is one."""
        while await self._goes_on():
            answer = await self._ask(self._batch.endpoint, line.body, f"{self._batch.id}-{uuid4().hex[:16]}")
            after_s = BEHIND_S if answer.status in LEASE_LOST else answer.retry_after_s
            if after_s is None:
                return answer
            self.refusal = Overloaded("The server is busy.", retry_after_s=after_s)
            if answer.status != TOO_MANY_REQUESTS:  # the server stops, or has no engine: another one may go on
                return None
            await asyncio.sleep(min(after_s, MAX_WAIT_S))
        return None

    async def _goes_on(self) -> bool:
        """Return whether to send further lines: there is time, and the batch was not ended."""
        now_s = time.monotonic()
        if self.has_more and now_s >= self._look_at_s:
            self._look_at_s = now_s + STATUS_EVERY_S
            batch = await self._records.find(self._batch.id)
            self.has_more = batch is not None and batch.status == "in_progress"
        return self.has_more and now_s < self._until_s and not self.is_stopping()


def _line(custom_id: str, answer: LineAnswer | None, code: str = "", message: str = "") -> bytes:
    """Return a line of an output or an error file; the answer of the server is in it as it came."""
    body: BatchLineAnswer = {"id": f"batch_req_{uuid4().hex}", "custom_id": custom_id, "response": None, "error": None}
    if answer is None:
        body["error"] = {"code": code, "message": message}
    else:
        content = orjson.Fragment(answer.body)
        body["response"] = {"status_code": answer.status, "request_id": answer.request_id, "body": content}
    return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)


def _custom_id(line: bytes, batch: BatchRecord, max_body_bytes: int) -> str:
    return parse_line(line, batch.endpoint, max_body_bytes).custom_id
