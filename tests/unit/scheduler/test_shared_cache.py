"""The shared cache never fails or delays a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from shortlist.breaker import Breaker, BreakerLimits, BreakerState
from shortlist.scheduler.cache import Entry
from shortlist.scheduler.codec import encode
from shortlist.scheduler.shared_cache import MAX_WAITING, WRITE_ENTRIES, SharedCache
from shortlist.telemetry import Metrics
from shortlist.types import RERANK, DocumentStats
from tests.support.simulated import simulated


def entry(value: float = 1.0) -> Entry:
    return Entry(RERANK, value, 3, DocumentStats(3, 3))


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Memory:
    """A store in this process. `before` runs first in every operation, and may fail or never return."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.writes: list[int] = []
        self.num_reads = 0
        self.num_refused = 0
        self.is_closed = False
        self.before: Callable[[], Awaitable[None]] = self.at_once

    async def at_once(self) -> None:
        pass

    async def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        self.num_reads += 1
        await self.before()
        return [self.values.get(each) for each in keys]

    async def write(self, values: Mapping[bytes, bytes]) -> int:
        self.writes.append(len(values))
        await self.before()
        self.values.update(values)
        return self.num_refused

    async def close(self) -> None:
        self.is_closed = True
        await self.before()


def failing(error: Exception) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        raise error

    return fail


async def never() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def store() -> Memory:
    return Memory()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(BreakerLimits(max_failures=3, rest_s=0.3))


@pytest.fixture
def cache(store: Memory, metrics: Metrics, breaker: Breaker) -> SharedCache:
    return SharedCache(store, timeout_s=0.02, metrics=metrics, location="redis://here", breaker=breaker)


def count(metrics: Metrics, what: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"shortlist_shared_cache_{what}", labels) or 0.0


async def written(cache: SharedCache) -> None:
    """Wait until all entries are written."""
    assert cache._writer is not None
    await cache._writer


@simulated
async def test_value_put_by_one_server_is_read_by_another(store: Memory, cache: SharedCache) -> None:
    cache.put_many({name(1): entry(0.25), name(2): entry(0.5)})
    await written(cache)
    other = SharedCache(store, timeout_s=1, metrics=Metrics(), location="")
    assert await other.get_many(RERANK, [name(2), name(3), name(1)]) == {name(1): entry(0.25), name(2): entry(0.5)}


@simulated
async def test_hits_and_misses_are_counted(cache: SharedCache, metrics: Metrics) -> None:
    cache.put_many({name(1): entry()})
    await written(cache)
    await cache.get_many(RERANK, [name(1), name(2), name(3)])
    assert (count(metrics, "hits_total"), count(metrics, "misses_total")) == (1, 2)
    assert count(metrics, "duration_seconds_count", operation="read") == 1
    assert count(metrics, "duration_seconds_count", operation="write") == 1
    assert count(metrics, "up", cache="redis://here") == 1


@simulated
async def test_empty_lookup_does_not_call_the_store(cache: SharedCache, store: Memory) -> None:
    assert await cache.get_many(RERANK, []) == {}
    assert store.num_reads == 0


@pytest.mark.parametrize("value", [b"", b"garbage", encode(name(2), entry()), encode(name(1), entry())[:-1]])
@simulated
async def test_value_that_cannot_be_believed_is_a_miss(cache: SharedCache, store: Memory, value: bytes) -> None:
    store.values[name(1)] = value
    assert await cache.get_many(RERANK, [name(1)]) == {}


@pytest.mark.parametrize("shift", [1, -1])
@simulated
async def test_answers_that_have_slipped_are_misses(cache: SharedCache, store: Memory, shift: int) -> None:
    """Values of another lookup, mixed up by a connection, are misses."""
    keys = [name(number) for number in range(5)]
    right = [encode(each, entry(float(number))) for number, each in enumerate(keys)]
    store.values = dict(zip(keys, right[shift:] + right[:shift], strict=True))
    assert await cache.get_many(RERANK, keys) == {}


class Odd(Memory):
    """A store with a constant response."""

    def __init__(self, answer: Sequence[bytes | None]) -> None:
        super().__init__()
        self.answer = answer

    async def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return self.answer


@simulated
async def test_answer_that_is_no_list_is_a_miss(metrics: Metrics) -> None:
    cache = SharedCache(Odd(1), timeout_s=1, metrics=metrics, location="")  # type: ignore[arg-type]
    assert await cache.get_many(RERANK, [name(1)]) == {}
    assert count(metrics, "failures_total", operation="read") == 1


@pytest.mark.parametrize("times", [1, 9])
@simulated
async def test_too_few_and_too_many_answers_are_no_error(metrics: Metrics, times: int) -> None:
    cache = SharedCache(Odd([encode(name(1), entry())] * times), timeout_s=1, metrics=metrics, location="")
    assert set(await cache.get_many(RERANK, [name(1), name(2), name(3)])) == {name(1)}


# -- a failing store ----------------------------------------------------------------------------------------------------

ERRORS = [ConnectionError("refused"), TimeoutError(), ValueError("garbage"), RecursionError(), EOFError(), IndexError()]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@simulated
async def test_failure_of_any_kind_is_a_miss(cache: SharedCache, store: Memory, metrics: Metrics, error: Exception) -> None:
    store.before = failing(error)
    assert await cache.get_many(RERANK, [name(1)]) == {}
    assert count(metrics, "failures_total", operation="read") == 1


@simulated
async def test_store_that_never_answers_is_a_miss_in_time(cache: SharedCache, store: Memory) -> None:
    store.before = never
    async with asyncio.timeout(5):
        assert await cache.get_many(RERANK, [name(1)]) == {}


@simulated
async def test_failing_store_is_skipped_and_retried_later(cache: SharedCache, store: Memory, breaker: Breaker) -> None:
    store.before = failing(ConnectionError())
    for _ in range(10):
        await cache.get_many(RERANK, [name(1)])
    assert store.num_reads == 3
    store.before = store.at_once
    store.values[name(1)] = encode(name(1), entry())
    assert await cache.get_many(RERANK, [name(1)]) == {}
    await asyncio.sleep(0.35)
    assert await cache.get_many(RERANK, [name(1)]) == {name(1): entry()}
    assert breaker.state is BreakerState.CLOSED


@simulated
async def test_failure_and_recovery_are_logged_once_each(
    cache: SharedCache, store: Memory, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    store.before = failing(ConnectionError("canary"))
    for _ in range(10):
        await cache.get_many(RERANK, [name(1)])
    assert count(metrics, "up", cache="redis://here") == 0
    store.before = store.at_once
    await asyncio.sleep(0.35)
    for _ in range(10):
        await cache.get_many(RERANK, [name(1)])
    assert count(metrics, "up", cache="redis://here") == 1
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "shared cache does not answer",
        "shared cache is back",
    ]
    gone, back = (vars(record) for record in caplog.records)
    assert (gone["cache"], gone["error"], back["cache"]) == ("redis://here", "ConnectionError", "redis://here")
    assert "canary" not in caplog.text


@simulated
async def test_cancelled_lookup_is_not_a_store_failure(cache: SharedCache, store: Memory, breaker: Breaker) -> None:
    store.before = never
    for _ in range(10):
        asking = asyncio.create_task(cache.get_many(RERANK, [name(1)]))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert breaker.state is BreakerState.CLOSED


# -- writing ------------------------------------------------------------------------------------------------------------


@simulated
async def test_putting_returns_at_once_even_when_the_store_hangs(cache: SharedCache, store: Memory) -> None:
    store.before = never
    cache.put_many({name(1): entry()})
    assert cache.num_waiting == 1
    assert store.writes == []


@simulated
async def test_pending_writes_are_bounded_and_the_rest_dropped(cache: SharedCache, store: Memory, metrics: Metrics) -> None:
    store.before = never
    for start in range(0, 10 * MAX_WAITING, 1000):
        cache.put_many({name(start + number): entry() for number in range(1000)})
        await asyncio.sleep(0)
        assert cache.num_waiting <= MAX_WAITING
    in_flight = sum(store.writes)
    assert count(metrics, "dropped_total") == 41_000 - cache.num_waiting - in_flight


@simulated
async def test_many_entries_are_written_in_few_round_trips(cache: SharedCache, store: Memory) -> None:
    cache.put_many({name(number): entry() for number in range(2 * WRITE_ENTRIES + 1)})
    await written(cache)
    assert store.writes == [WRITE_ENTRIES, WRITE_ENTRIES, 1]
    assert len(store.values) == 2 * WRITE_ENTRIES + 1


@simulated
async def test_writer_starts_again_after_it_was_done(cache: SharedCache, store: Memory) -> None:
    for number in range(3):
        cache.put_many({name(number): entry()})
        await written(cache)
    assert len(store.values) == 3


@simulated
async def test_nothing_is_written_while_the_store_is_skipped(cache: SharedCache, store: Memory, metrics: Metrics) -> None:
    store.before = failing(ConnectionError())
    for _ in range(3):
        await cache.get_many(RERANK, [name(1)])
    cache.put_many({name(1): entry(), name(2): entry()})
    assert (cache.num_waiting, store.writes) == (0, [])
    assert count(metrics, "dropped_total") == 2


@simulated
async def test_failed_writing_is_dropped_counted_and_opens_the_breaker(
    cache: SharedCache, store: Memory, metrics: Metrics, breaker: Breaker
) -> None:
    store.before = failing(ConnectionError())
    cache.put_many({name(number): entry() for number in range(5 * WRITE_ENTRIES)})
    await written(cache)
    assert len(store.writes) == 3
    assert breaker.state is BreakerState.OPEN
    assert count(metrics, "dropped_total") == 5 * WRITE_ENTRIES
    assert count(metrics, "failures_total", operation="write") == 3


@simulated
async def test_full_store_is_still_read_and_logged_once(
    cache: SharedCache, store: Memory, metrics: Metrics, breaker: Breaker, caplog: pytest.LogCaptureFixture
) -> None:
    store.num_refused = 1
    for number in range(5):
        cache.put_many({name(number): entry()})
        await written(cache)
    assert breaker.state is BreakerState.CLOSED
    assert await cache.get_many(RERANK, [name(0)])
    assert count(metrics, "dropped_total") == 5
    [record] = caplog.records
    assert "takes no new entries" in record.message


# -- start and close ----------------------------------------------------------------------------------------------------


@simulated
async def test_start_without_a_store_warns_once_and_serves(
    cache: SharedCache, store: Memory, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    store.before = failing(ConnectionError())
    await cache.start()
    assert await cache.get_many(RERANK, [name(1)]) == {}
    assert store.num_reads == 1, "it was not skipped"
    assert count(metrics, "up", cache="redis://here") == 0
    [record] = caplog.records
    assert record.levelno == logging.WARNING


@simulated
async def test_start_with_a_store_is_silent(cache: SharedCache, caplog: pytest.LogCaptureFixture) -> None:
    await cache.start()
    assert caplog.records == []


@simulated
async def test_closing_writes_pending_entries_and_disconnects(cache: SharedCache, store: Memory) -> None:
    cache.put_many({name(1): entry()})
    await cache.close()
    assert set(store.values) == {name(1)}
    assert store.is_closed


@simulated
async def test_closing_does_not_wait_for_a_store_that_hangs(
    cache: SharedCache, store: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shortlist.scheduler.shared_cache.BACKGROUND_TIMEOUT_S", 0.01)
    store.before = never
    cache.put_many({name(1): entry()})
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cache.close()
        await cache.close()
    assert store.is_closed


@simulated
async def test_closing_a_store_that_fails_is_no_error(cache: SharedCache, store: Memory) -> None:
    store.before = failing(ConnectionError())
    await cache.close()


@simulated
async def test_closed_cache_asks_and_puts_nothing(cache: SharedCache, store: Memory) -> None:
    await cache.close()
    assert await cache.get_many(RERANK, [name(1)]) == {}
    cache.put_many({name(1): entry()})
    assert (store.num_reads, store.writes, cache.num_waiting) == (0, [], 0)
