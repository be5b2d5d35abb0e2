"""The steps of batches on a real Redis and a real folder: run again, run twice at once, refused, cancelled, expired."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

pytest.importorskip("redis")

from shortlist.batches.batch import BatchRecord, Chunk, Step
from shortlist.batches.batch_records import MAX_OPEN, OutputFile
from shortlist.batches.batch_service import ORPHAN_S, BatchService
from shortlist.batches.batch_transitions import MAX_FILES, WINDOW
from shortlist.batches.file_records import FileRecord
from shortlist.batches.file_store import new_name, whole
from shortlist.batches.input_lines import PART_LINES
from shortlist.batches.steps import LineAnswer
from shortlist.errors import InvalidInput, NotFound, Overloaded, RequestTooLarge
from shortlist.jobs.job_service import JobService
from shortlist.jobs.transitions import PREFIX
from shortlist.schemas.openai_batches import BatchRequest
from shortlist.telemetry.job_state import JobStateCollector
from tests.support.apps import settings
from tests.support.redis_server import RedisServer, missing_redis, redis_server

if missing := missing_redis():
    pytest.skip(missing, allow_module_level=True)

LIMIT: Final = 1_000_000
OWNER: Final = "alice"
OWNERS: Final = itertools.count()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@dataclass
class Desk:
    """A server's files and batches, without its tasks: tests take the steps."""

    service: BatchService
    jobs: JobService
    owner: str
    asked: list[str]

    async def upload(self, content: bytes, **changes: Any) -> str:
        async def pieces() -> AsyncIterator[bytes]:
            yield content

        name, num_bytes = await self.service.store_bytes(self.owner, pieces())
        record = await self.service.add_file(self.owner, name, num_bytes, filename="lines.jsonl", ttl_s=3600, **changes)
        return record.id

    async def create(self, num_lines: int, **changes: Any) -> BatchRecord:
        content = b"".join(line(number) + b"\n" for number in range(num_lines))
        return await self.create_of(await self.upload(content), **changes)

    async def create_of(self, file_id: str, **changes: Any) -> BatchRecord:
        given = {"input_file_id": file_id, "endpoint": "/v1/rerank", "completion_window": "24h", **changes}
        return await self.service.create_batch(self.owner, BatchRequest.model_validate(given))

    async def started(self, num_lines: int, **changes: Any) -> BatchRecord:
        batch = await self.create(num_lines, **changes)
        await self.step(batch, "validate")
        return await self.now(batch)

    async def now(self, batch: BatchRecord) -> BatchRecord:
        return await self.service.batch(batch.id, self.owner)

    async def step(self, batch: BatchRecord, name: str, ask: Callable[[bytes], LineAnswer] | None = None) -> None:
        """Run a step, as a worker has it run: its job ends if the step does."""
        step = Step.of(f"{batch.id}.{name}")
        assert step is not None

        async def asked(_: str, body: bytes, request_id: str) -> LineAnswer:
            self.asked.append(json.loads(body)["query"])
            await asyncio.sleep(0)
            return (ask or good)(body)

        await self.service.steps.run(step, asked)

    async def finished(self, batch: BatchRecord) -> BatchRecord:
        await self.step(batch, "finish")
        return await self.now(batch)

    async def rows(self, file_id: str) -> list[dict[str, Any]]:
        return [json.loads(each) for each in (await whole(self.service.store.read(file_id))).splitlines()] if file_id else []

    async def stored(self) -> set[str]:
        return {each.name async for each in self.service.store.list_files()}

    async def redis(self, *words: str | int) -> Any:
        return await self.jobs.store.redis.execute_command(*words)  # type: ignore[no-untyped-call]

    async def parts_handed_out(self, batch: BatchRecord) -> set[str]:
        return {
            each.decode().rpartition(".")[2]
            for each in await self.redis("KEYS", f"{PREFIX}job:{batch.id}.p*")
            if b":in" not in each and b":events" not in each
        }


@pytest.fixture
async def desk(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Desk]:
    given = settings(jobs=redis.url, job_files=str(tmp_path), job_doorbell="streams", max_caller_file_bytes=LIMIT).jobs
    jobs = JobService(redis.url, given, JobStateCollector())
    yield Desk(BatchService(jobs, given, max_body_bytes=10_000), jobs, f"owner-{next(OWNERS)}", [])
    await jobs.close()


def line(number: int, **changes: Any) -> bytes:
    request = {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/rerank", "body": {"query": f"q{number}"}}
    return json.dumps({**request, **changes}).encode()


def good(body: bytes) -> LineAnswer:
    return LineAnswer(200, None, "request", b'{"answer":%s}' % body)


def bad(body: bytes) -> LineAnswer:
    return LineAnswer(400, None, "request", b'{"error":{}}')


# -- parts --------------------------------------------------------------------------------------------------------------


async def test_parts_are_handed_out_a_few_at_a_time(desk: Desk) -> None:
    batch = await desk.started((WINDOW + 3) * PART_LINES)
    assert (batch.num_lines, batch.num_parts, batch.num_open) == ((WINDOW + 3) * PART_LINES, WINDOW + 3, WINDOW)
    assert await desk.parts_handed_out(batch) == {f"p{number}" for number in range(WINDOW)}
    await desk.step(batch, "p0")
    assert await desk.parts_handed_out(batch) == {f"p{number}" for number in range(WINDOW + 1)}


async def test_part_that_is_run_again_asks_nothing_twice(desk: Desk) -> None:
    batch = await desk.started(10)
    await desk.step(batch, "p0")
    await desk.step(batch, "p0")
    assert desk.asked == [f"q{number}" for number in range(10)]
    assert (await desk.now(batch)).num_completed == 10


async def test_part_goes_on_behind_what_is_done(desk: Desk) -> None:
    batch = await desk.started(20)

    def stops(body: bytes) -> LineAnswer:
        return LineAnswer(503, 1.0, "request", b"{}") if b"q12" in body else good(body)

    with pytest.raises(Overloaded):
        await desk.step(batch, "p0", stops)
    assert (await desk.now(batch)).num_completed == 12
    desk.asked.clear()
    await desk.step(batch, "p0")
    assert desk.asked == [f"q{number}" for number in range(12, 20)]
    batch = await desk.finished(batch)
    assert [row["custom_id"] for row in await desk.rows(batch.output_file)] == [f"line-{number}" for number in range(20)]


async def test_part_stores_what_is_done_when_the_server_stops(desk: Desk) -> None:
    batch = await desk.started(20)
    step = Step(batch.id, "part", 0)

    async def ask(_: str, body: bytes, request_id: str) -> LineAnswer:
        desk.asked.append("")
        await asyncio.sleep(0)
        return good(body)

    with pytest.raises(Overloaded):
        await desk.service.steps.run(step, ask, lambda: len(desk.asked) >= 8)
    assert 8 <= (await desk.now(batch)).num_completed < 20
    await desk.step(batch, "p0")
    assert ((await desk.now(batch)).num_completed, len(desk.asked)) == (20, 20)


@pytest.mark.parametrize("status", [401, 403])
async def test_lost_lease_is_no_answer_to_a_line(desk: Desk, status: int) -> None:
    batch = await desk.started(10)
    with pytest.raises(Overloaded):
        await desk.step(batch, "p0", lambda body: LineAnswer(status, None, "r", b"{}") if b"q6" in body else good(body))
    batch = await desk.now(batch)
    assert (batch.num_completed, batch.num_failed) == (6, 0)


async def test_line_that_is_refused_for_now_is_sent_again(desk: Desk) -> None:
    batch = await desk.started(3)
    refusals = iter([True, True])
    await desk.step(batch, "p0", lambda body: LineAnswer(429, 0.01, "r", b"{}") if next(refusals, False) else good(body))
    assert (await desk.now(batch)).num_completed == 3


async def test_two_attempts_at_once_count_once(desk: Desk) -> None:
    batch = await desk.started(10)
    await asyncio.gather(desk.step(batch, "p0"), desk.step(batch, "p0", bad))
    batch = await desk.now(batch)
    assert batch.num_completed + batch.num_failed == 10
    batch = await desk.finished(batch)
    rows = [*await desk.rows(batch.output_file), *await desk.rows(batch.error_file)]
    assert sorted(row["custom_id"] for row in rows) == sorted(f"line-{number}" for number in range(10))
    assert await desk.stored() == {batch.input_file, batch.output_file or batch.error_file}


async def test_late_attempt_is_refused_once_the_batch_is_sealed(desk: Desk) -> None:
    batch = await desk.started(4)
    is_sealed = asyncio.Event()

    async def late(_: str, body: bytes, request_id: str) -> LineAnswer:
        await is_sealed.wait()
        return good(body)

    step = Step(batch.id, "part", 0)
    running = asyncio.create_task(desk.service.steps.run(step, late))
    await asyncio.sleep(0.05)
    batch = await desk.finished(batch)
    is_sealed.set()
    await running
    assert batch.status == "completed"
    assert {row["error"]["code"] for row in await desk.rows(batch.error_file)} == {"not_run"}
    assert (batch.num_completed, batch.num_failed) == (0, 4)
    assert await desk.stored() == {batch.input_file, batch.error_file}


async def test_record_that_is_sent_again_counts_once_and_is_no_refusal(desk: Desk) -> None:
    batch = await desk.started(4)
    chunk = Chunk(new_name(), 7, "", 0)
    record = partial(desk.service.batches.record, batch.id, 0, num_completed=4, num_failed=0, max_bytes=LIMIT)
    assert [await record(range(4), chunk=chunk) for _ in range(2)] == [True, True]
    assert not await record(range(4), chunk=Chunk(new_name(), 7, "", 0))
    assert (await desk.now(batch)).num_completed == 4


async def test_end_that_is_sent_again_is_the_same_end(desk: Desk) -> None:
    batch = await desk.started(1)
    assert await desk.service.batches.seal(batch.id)
    files = {"output": OutputFile(new_name(), 7), "failures": OutputFile(), "num_failed": 0, "ttl_s": 60.0}
    complete = partial(desk.service.batches.complete, batch.id)
    assert [await complete(**files) for _ in range(2)] == [True, True]  # type: ignore[arg-type] # values of several types
    assert not await complete(output=OutputFile(new_name(), 7), failures=OutputFile(), num_failed=0, ttl_s=60)
    assert [each.id for each in await desk.service.files.list_files(desk.owner)].count(files["output"].name) == 1  # type: ignore[attr-defined]


async def test_file_that_is_recorded_again_counts_once(desk: Desk) -> None:
    file = FileRecord(new_name(), desk.owner, 7, "a", "batch", 0, 0)
    first, second = [await desk.service.files.create(file, max_bytes=10, ttl_s=60) for _ in range(2)]
    assert first == second is not None
    assert await desk.service.files.num_bytes(desk.owner) == 7


async def test_missing_part_of_an_output_does_not_hold_the_batch(desk: Desk) -> None:
    batch = await desk.started(2 * PART_LINES)
    await desk.step(batch, "p0")
    [(_, progress)] = (await desk.service.batches.progress(batch.id)).items()
    await desk.service.store.delete(progress.chunks[0].output)
    await desk.step(batch, "p1")
    batch = await desk.finished(batch)
    assert (batch.status, len(await desk.rows(batch.output_file))) == ("completed", PART_LINES)


async def test_good_and_bad_lines_have_their_files(desk: Desk) -> None:
    batch = await desk.started(6)
    await desk.step(batch, "p0", lambda body: bad(body) if b"q3" in body else good(body))
    batch = await desk.finished(batch)
    [failed] = await desk.rows(batch.error_file)
    assert (failed["custom_id"], failed["response"]["status_code"], failed["error"]) == ("line-3", 400, None)
    done = await desk.rows(batch.output_file)
    assert [row["custom_id"] for row in done] == [f"line-{number}" for number in (0, 1, 2, 4, 5)]
    assert done[0]["response"] == {"status_code": 200, "request_id": "request", "body": {"answer": {"query": "q0"}}}
    assert len({row["id"] for row in (*done, failed)}) == 6


# -- ends ---------------------------------------------------------------------------------------------------------------


async def test_batch_is_finished_once(desk: Desk) -> None:
    batch = await desk.started(5)
    await desk.step(batch, "p0")
    await asyncio.gather(*(desk.step(batch, "finish") for _ in range(3)), return_exceptions=True)
    batch = await desk.now(batch)
    assert (batch.status, batch.num_completed) == ("completed", 5)
    assert await desk.stored() == {batch.input_file, batch.output_file}
    files = await desk.service.files.list_files(desk.owner)
    assert {each.id for each in files} == {batch.input_file, batch.output_file}
    assert await desk.service.files.num_bytes(desk.owner) == sum(each.num_bytes for each in files)


async def test_cancelled_part_ends_early_and_its_lines_stay(desk: Desk) -> None:
    batch = await desk.started(3 * PART_LINES)
    await desk.step(batch, "p0")
    assert (await desk.service.cancel_batch(batch.id, desk.owner)).status == "cancelling"
    await desk.step(batch, "p1")
    batch = await desk.finished(batch)
    assert batch.status == "cancelled"
    assert (batch.num_completed, batch.num_failed) == (PART_LINES, 2 * PART_LINES)
    assert {row["error"]["code"] for row in await desk.rows(batch.error_file)} == {"batch_cancelled"}
    assert await desk.service.cancel_batch(batch.id, desk.owner) == batch


async def test_batch_that_is_cancelled_before_it_started_has_no_files(desk: Desk) -> None:
    batch = await desk.create(5)
    await desk.service.cancel_batch(batch.id, desk.owner)
    await desk.step(batch, "validate")
    batch = await desk.finished(batch)
    assert (batch.status, batch.output_file, batch.error_file, batch.num_lines) == ("cancelled", "", "", 0)


async def test_deadline_leaves_out_what_is_not_done(desk: Desk) -> None:
    batch = await desk.started(2 * PART_LINES)
    await desk.step(batch, "p0")
    await desk.redis("ZADD", f"{PREFIX}batches:open", 1, batch.id)
    await desk.service.batches.settle()
    assert (await desk.now(batch)).status == "finalizing"
    batch = await desk.finished(batch)
    assert (batch.status, batch.num_completed, batch.num_failed) == ("expired", PART_LINES, PART_LINES)
    assert batch.times["expired_at"] > 0
    assert {row["error"]["code"] for row in await desk.rows(batch.error_file)} == {"batch_expired"}


async def test_output_beyond_the_limit_ends_the_batch(desk: Desk) -> None:
    batch = await desk.started(3 * PART_LINES)
    huge = LineAnswer(200, None, "r", json.dumps("x" * (LIMIT // PART_LINES)).encode())
    await desk.step(batch, "p0", lambda _: huge)
    await desk.step(batch, "p1", lambda _: huge)
    batch = await desk.finished(batch)
    assert (batch.status, batch.num_completed, batch.num_failed) == ("completed", PART_LINES, 2 * PART_LINES)
    assert {row["error"]["code"] for row in await desk.rows(batch.error_file)} == {"storage_full"}
    with pytest.raises(RequestTooLarge, match="max_caller_file_bytes"):
        await desk.upload(b"x")


async def test_job_that_was_handed_out_and_never_accepted_is_found(desk: Desk) -> None:
    batch = await desk.started(3 * PART_LINES)
    await desk.step(batch, "p0")
    for number in range(3):
        await desk.redis("DEL", f"{PREFIX}job:{batch.id}.p{number}")
    await desk.service.batches.repair()
    assert await desk.parts_handed_out(batch) == set()
    await desk.redis("HSET", f"{PREFIX}batch:{batch.id}", "moved", 1)
    await desk.service.batches.repair()
    assert await desk.parts_handed_out(batch) == {"p1", "p2"}


async def test_batch_whose_parts_have_ended_is_finished_by_a_job(desk: Desk) -> None:
    batch = await desk.started(5)
    await desk.step(batch, "p0")
    await desk.redis("HSET", f"{PREFIX}batch:{batch.id}", "open", 0)
    await desk.redis("ZADD", f"{PREFIX}batches:ending", 1, batch.id)
    await desk.service.batches.settle()
    assert await desk.redis("KEYS", f"{PREFIX}job:{batch.id}.finish*")
    assert await desk.redis("ZSCORE", f"{PREFIX}batches:ending", batch.id) is None


# -- inputs and files ---------------------------------------------------------------------------------------------------


async def test_wrong_input_fails_the_batch(desk: Desk) -> None:
    batch = await desk.create_of(await desk.upload(line(1) + b"\n{\n" + line(1)))
    await desk.step(batch, "validate")
    batch = await desk.now(batch)
    assert batch.status == "failed"
    assert [(each["code"], each["line"]) for each in batch.errors] == [("invalid_json_line", 2), ("duplicate_custom_id", 3)]


async def test_input_that_is_deleted_meanwhile_fails_the_batch(desk: Desk) -> None:
    batch = await desk.create(5)
    await desk.service.delete_file(batch.input_file, desk.owner)
    await desk.step(batch, "validate")
    batch = await desk.now(batch)
    assert (batch.status, [each["code"] for each in batch.errors]) == ("failed", ["file_not_found"])


async def test_batch_needs_a_file_of_its_owner_for_batches(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.create_of(new_name())
    batch = await desk.started(1)
    await desk.step(batch, "p0")
    batch = await desk.finished(batch)
    with pytest.raises(InvalidInput, match="purpose"):
        await desk.create_of(batch.output_file)


async def test_number_of_open_batches_is_bounded(desk: Desk) -> None:
    file_id = await desk.upload(line(1))
    batch = await desk.create_of(file_id)
    for _ in range(MAX_OPEN - 1):
        await desk.create_of(file_id)
    with pytest.raises(Overloaded):
        await desk.create_of(file_id)
    await desk.service.cancel_batch(batch.id, desk.owner)
    await desk.finished(batch)
    await desk.create_of(file_id)


async def test_number_of_files_is_bounded(desk: Desk) -> None:
    ids = {f"file-{number}": number for number in range(MAX_FILES)}
    await desk.jobs.store.redis.zadd(f"{PREFIX}files:of:{desk.owner}", ids)
    with pytest.raises(RequestTooLarge):
        await desk.upload(b"x")
    assert await desk.stored() == set()


async def test_pages_of_batches_follow_each_other(desk: Desk) -> None:
    file_id = await desk.upload(line(1))
    ids = [(await desk.create_of(file_id)).id for _ in range(5)]
    found: list[str] = []
    while page := await desk.service.batches.list_batches(desk.owner, after=found[-1] if found else "", limit=2):
        found += [each.id for each in page]
    assert sorted(found) == sorted(ids)
    assert await desk.service.batches.list_batches(desk.owner, after="batch_unknown", limit=2) == []


async def test_batch_keeps_its_input_until_it_ends(desk: Desk) -> None:
    batch = await desk.create(1)
    file = await desk.service.file(batch.input_file, desk.owner)
    assert file.expires_ms > batch.deadline_ms


async def test_expired_files_and_old_ones_without_a_record_are_removed(desk: Desk, tmp_path: Path) -> None:
    kept, expired, orphan, young = await desk.upload(b"kept"), await desk.upload(b"expired"), new_name(), new_name()
    for name in (orphan, young):
        (tmp_path / name).write_bytes(b"x")
    for name in (orphan, kept):
        old_s = (tmp_path / young).stat().st_mtime - ORPHAN_S - 60
        os.utime(tmp_path / name, (old_s, old_s))
    await desk.redis("HSET", f"{PREFIX}file:{expired}", "expires", 1)
    await desk.redis("ZADD", f"{PREFIX}files:expiring", 1, expired)
    await desk.redis("DEL", f"{PREFIX}files:cleaned")
    await desk.service._clean()
    assert await desk.stored() == {kept, young}
    with pytest.raises(NotFound):
        await desk.service.file(expired, desk.owner)
    assert await desk.service.files.num_bytes(desk.owner) == len(b"kept")


@pytest.mark.parametrize(
    "job_id",
    ["", "job_1", "batch_1.p0", f"batch_{'a' * 32}", f"batch_{'a' * 32}.p", f"batch_{'a' * 32}.p0;", f"batch_{'a' * 32}.x"],
)
def test_other_jobs_are_no_steps(job_id: str) -> None:
    assert Step.of(job_id) is None


@pytest.mark.parametrize(
    ("name", "step"),
    [("validate", ("validate", 0)), ("validate.7", ("validate", 0)), ("finish.29", ("finish", 0)), ("p17", ("part", 17))],
)
def test_step_is_in_the_id_of_its_job(name: str, step: tuple[str, int]) -> None:
    found = Step.of(f"batch_{'a' * 32}.{name}")
    assert found is not None
    assert (found.kind, found.part) == step
