"""A real Redis, empty before every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from shortlist.jobs.records import JobStore
from tests.support.redis_server import RedisServer, missing_redis, redis_server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if missing := missing_redis():
        pytest.skip(missing)
    with redis_server(tmp_path_factory.mktemp("redis"), "--appendonly", "yes") as server:
        yield server


@pytest.fixture
async def store(redis: RedisServer) -> AsyncIterator[JobStore]:
    redis.ask(b"FLUSHALL")
    store = JobStore(redis.url, doorbell="test")
    yield store
    await store.close()
