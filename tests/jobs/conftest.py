"""One Redis, one server with a fake engine and one worker, for all tests here that look at them as a user does."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

pytest.importorskip("redis")

from tests.support.job_site import JobServer, job_site
from tests.support.redis_server import missing_redis

KEYS = ("a:write:key-of-a", "b:write:key-of-b", "b:read:reader-of-b", "pool:worker:key-of-c")
"""Lines of the file of keys: owner, role and key."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServer]:
    """A server that takes jobs of three callers, and sends webhooks to this machine."""
    if missing := missing_redis():
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("site")
    keys = folder / "keys"
    (folder / "files").mkdir()
    keys.write_text("\n".join(KEYS))
    shared = {"job_doorbell": "streams", "webhook_target": "127.0.0.1"}
    with job_site(folder) as running:
        server = running.server(api_key_file=keys, job_files=folder / "files", **shared)
        worker = running.worker(server.url, api_key=KEYS[-1].rpartition(":")[2], **shared)
        server.wait()
        worker.wait()
        yield server


def http_client(server: JobServer, key: str) -> httpx2.Client:
    return httpx2.Client(base_url=server.url, headers={"authorization": f"Bearer {key}"}, timeout=30)
