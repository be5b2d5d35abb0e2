"""A real Redis that is shared, killed, started again, full, locked, slow, or not a Redis at all."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest

from shortlist.breaker import Breaker, BreakerLimits, BreakerState
from shortlist.scheduler.cache import Entry
from shortlist.scheduler.redis_store import PREFIX, RedisStore, location_of
from shortlist.scheduler.shared_cache import SharedCache
from shortlist.telemetry import Metrics
from shortlist.types import EMBED, RERANK, DocumentStats, Span
from tests.support.process import launched
from tests.support.redis_server import RedisServer, missing_redis, pretender, redis_server

TIMEOUT_S = 20.0
"""Generous: these tests ask whether, not how fast."""
SILENT_S = 0.3
"""For what never answers."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    if missing := missing_redis():
        pytest.skip(missing)
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _library() -> None:
    pytest.importorskip("redis")


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def score(value: float) -> Entry:
    return Entry(RERANK, value, 12, DocumentStats(7, 9, is_truncated=True, num_windows=3, best=Span(4, 99)))


def vector(seed: int, dimensions: int = 1024) -> Entry:
    values = np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)
    return Entry(EMBED, values, 12, DocumentStats(7, None))


@asynccontextmanager
async def shared(
    url: str, *, ttl_s: int = 60, rest_s: float = 0.05, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[SharedCache]:
    cache = SharedCache(
        RedisStore(url, ttl_s=ttl_s),
        timeout_s=timeout_s,
        metrics=Metrics(),
        location=location_of(url),
        breaker=Breaker(BreakerLimits(max_failures=3, rest_s=rest_s, max_rest_s=0.2)),
    )
    try:
        yield cache
    finally:
        await cache.close()


def state(cache: SharedCache) -> BreakerState:
    return cache._breaker.state


async def put(cache: SharedCache, entries: dict[bytes, Entry]) -> None:
    cache.put_many(entries)
    assert cache._writer is not None
    await cache._writer


async def test_shared_cache_returns_bit_identical_scores(redis: RedisServer) -> None:
    scores = {name(number): score(value) for number, value in enumerate([0.1, -0.0, 5e-324, -7.25, 1e300])}
    vectors = {name(100 + number): vector(number) for number in range(5)}
    async with shared(redis.url) as one, shared(redis.url) as other:
        await put(one, {**scores, **vectors})
        found = await other.get_many(RERANK, [*scores, name(999)])
        found |= await other.get_many(EMBED, [*vectors, name(999)])
    assert found.keys() == scores.keys() | vectors.keys()
    for each, entry in {**scores, **vectors}.items():
        assert (found[each].num_tokens, found[each].stats) == (entry.num_tokens, entry.stats)
        assert bits(found[each]) == bits(entry)


def bits(entry: Entry) -> bytes:
    return struct.pack("<d", entry.value) if isinstance(entry.value, float) else entry.value.tobytes()


async def test_two_thousand_entries_are_one_lookup(redis: RedisServer) -> None:
    entries = {name(number): vector(number, 64) for number in range(2048)}
    async with shared(redis.url) as cache:
        await put(cache, entries)
        asked = int(stats(redis)["cmdstat_mget"]) if "cmdstat_mget" in stats(redis) else 0
        assert len(await cache.get_many(EMBED, list(entries))) == 2048
        assert int(stats(redis)["cmdstat_mget"]) == asked + 1


def stats(redis: RedisServer) -> dict[str, str]:
    lines = redis.ask(b"INFO", b"commandstats").decode().splitlines()
    return {line.partition(":")[0]: line.partition("calls=")[2].partition(",")[0] for line in lines if "calls=" in line}


async def test_every_entry_has_a_time_to_live_and_our_name_before_its_own(redis: RedisServer) -> None:
    async with shared(redis.url, ttl_s=1000) as cache:
        await put(cache, {name(1): score(1.0)})
    answer = redis.ask(b"TTL", PREFIX + name(1))
    assert 990 <= int(answer.strip(b":\r\n")) <= 1000
    assert redis.ask(b"DBSIZE") == b":1\r\n"


async def test_entry_that_expired_is_a_miss(redis: RedisServer) -> None:
    async with shared(redis.url, ttl_s=1) as cache:
        await put(cache, {name(1): score(1.0)})
        redis.ask(b"PEXPIRE", PREFIX + name(1), b"1")
        await asyncio.sleep(0.05)
        assert await cache.get_many(RERANK, [name(1)]) == {}


async def test_foreign_value_under_a_key_is_a_miss(redis: RedisServer) -> None:
    async with shared(redis.url) as cache:
        redis.ask(b"SET", PREFIX + name(1), b"hello")
        redis.ask(b"LPUSH", PREFIX + name(2), b"hello")
        await put(cache, {name(3): score(3.0)})
        assert set(await cache.get_many(RERANK, [name(1), name(2), name(3)])) == {name(3)}


async def test_redis_killed_under_load_gives_misses_without_errors_and_recovers(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    entries = {name(number): score(float(number)) for number in range(64)}
    async with shared(redis.url) as cache:
        await put(cache, entries)
        stop, found = asyncio.Event(), list[int]()
        asking = [asyncio.create_task(ask_until(cache, list(entries), stop, found)) for _ in range(20)]
        async with asyncio.timeout(30):
            while len(entries) not in found:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.to_thread(redis.kill)
        async with asyncio.timeout(30):
            while state(cache) is BreakerState.CLOSED:  # noqa: ASYNC110 - it announces nothing
                await asyncio.sleep(0.01)
        assert await cache.get_many(RERANK, list(entries)) == {}
        cache.put_many(entries)
        assert cache.num_waiting == 0
        await asyncio.to_thread(redis.start)
        async with asyncio.timeout(30):
            while state(cache) is not BreakerState.CLOSED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*asking)
        await put(cache, entries)
        assert await cache.get_many(RERANK, list(entries)) == entries
    assert len(entries) in found
    assert 0 in found
    assert set(found) == {0, len(entries)}
    said = [record.message.partition(";")[0] for record in caplog.records if record.name == "shortlist"]
    assert said == ["shared cache does not answer", "shared cache is back"]


async def ask_until(cache: SharedCache, names: list[bytes], stop: asyncio.Event, found: list[int]) -> None:
    """Ask without pause; note how much was found each time, and let every error out."""
    while not stop.is_set():
        found.append(len(await cache.get_many(RERANK, names)))
        await asyncio.sleep(0.001)


async def test_cancelled_call_does_not_mix_up_answers(redis: RedisServer) -> None:
    """A lookup that is cancelled half-way must not hand its answer to the next one on its connection."""
    entries = {name(number): vector(number) for number in range(256)}
    names = list(entries)
    async with shared(redis.url) as cache:
        await put(cache, entries)
        for number in range(100):
            asking = asyncio.create_task(cache.get_many(EMBED, names))
            await asyncio.sleep(0.0001 * (number % 20))
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            [wanted] = [names[number]]
            found = await cache.get_many(EMBED, [wanted])
            assert found.keys() <= {wanted}
            assert all(bits(entry) == bits(entries[wanted]) for entry in found.values())
        assert (await cache.get_many(EMBED, [names[0]])).keys() == {names[0]}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0" * 1000,
        b"*1\r\n" * 100_000,
        b"$-5\r\n",
        b"*many\r\n",
        b"$99999999999999999999\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"",
    ],
    ids=["silence", "http", "zeros", "nested", "negative", "not-a-number", "huge", "ok", "integer", "loading", "nothing"],
)
async def test_whatever_answers_instead_of_redis_is_a_miss_in_time(
    answer: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    with pretender(answer) as url:
        async with shared(url, timeout_s=SILENT_S) as cache:
            async with asyncio.timeout(30):
                for _ in range(4):
                    assert await cache.get_many(RERANK, [name(1), name(2)]) == {}
                cache.put_many({name(1): score(1.0)})
    assert all(record.levelno <= logging.WARNING for record in caplog.records)


async def test_wrong_password_is_a_miss_and_is_not_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if missing := missing_redis():
        pytest.skip(missing)
    caplog.set_level(logging.DEBUG)
    with redis_server(tmp_path, password="right") as redis:
        for url in (redis.url.replace("right", "canary"), f"redis://127.0.0.1:{redis.port}"):
            async with shared(url) as cache:
                await cache.start()
                assert await cache.get_many(RERANK, [name(1)]) == {}
        async with shared(redis.url) as cache:
            await put(cache, {name(1): score(1.0)})
            assert await cache.get_many(RERANK, [name(1)])
    assert "canary" not in caplog.text
    assert "right" not in caplog.text


async def test_full_redis_is_read_and_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if missing := missing_redis():
        pytest.skip(missing)
    with redis_server(tmp_path) as redis:
        async with shared(redis.url) as cache:
            await put(cache, {name(1): score(1.0)})
            redis.ask(b"CONFIG", b"SET", b"maxmemory", b"1")
            for number in range(2, 6):
                await put(cache, {name(number): score(1.0)})
            assert set(await cache.get_many(RERANK, [name(number) for number in range(1, 6)])) == {name(1)}
            assert state(cache) is BreakerState.CLOSED
    [record] = [each for each in caplog.records if each.name == "shortlist"]
    assert "takes no new entries" in record.message


def test_server_starts_and_ranks_without_the_redis_it_was_given() -> None:
    url = "redis://user:canary@127.0.0.1:1"
    with launched("tests.support.fakeserver", SHORTLIST_CACHE_URL=url) as server:
        answer = httpx2.post(f"{server.url}/v1/rerank", json={"query": "a", "documents": ["a", "b"]})
        assert answer.status_code == httpx2.codes.OK
        metrics = httpx2.get(f"{server.url}/metrics").text
        assert server_said(server.log(), "redis://127.0.0.1:1") == 1
        assert 'shortlist_shared_cache_up{cache="redis://127.0.0.1:1"} 0.0' in metrics
        assert "canary" not in server.log() + metrics


def server_said(log: str, place: str) -> int:
    return sum("shared cache does not answer" in line and place in line for line in log.splitlines())


def test_metrics_report_redis_as_up(redis: RedisServer) -> None:
    with launched("tests.support.fakeserver", "--cache-url", redis.url) as server:
        assert (
            f'shortlist_shared_cache_up{{cache="{redis.url.removesuffix("/0")}/0"}} 1.0'
            in httpx2.get(f"{server.url}/metrics").text
        )
        assert "shared cache" not in server.log()
