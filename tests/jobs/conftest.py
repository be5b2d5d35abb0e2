"""One Redis, one server with a fake engine and one worker, for all tests here that look at them as a user does."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

pytest.importorskip("redis")

from tests.support.job_stack import JobStack, job_stack
from tests.support.redis_server import missing_redis

KEYS = ("key-of-a", "key-of-b", "key-of-c")
TARGET = ("--webhook-target", "127.0.0.1")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobStack]:
    if missing := missing_redis():
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("stack")
    keys = folder / "keys"
    keys.write_text("\n".join(KEYS))
    with job_stack(folder, "--api-key-file", str(keys), *TARGET, worker_flags=("--api-key", KEYS[-1], *TARGET)) as running:
        yield running


def http_client(stack: JobStack, key: str) -> httpx2.Client:
    return httpx2.Client(base_url=stack.url, headers={"authorization": f"Bearer {key}"}, timeout=30)
