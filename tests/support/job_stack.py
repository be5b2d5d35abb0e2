"""Everything that durable jobs need: a Redis that keeps them, a server with a fake engine, and a worker, all as processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import launched, wait_until
from tests.support.redis_server import RedisServer, redis_server

START_S = 60.0
DOORBELL = ("--job-doorbell", "streams")
"""Its libraries are imported in a moment."""


@dataclass(frozen=True)
class JobStack:
    """A running server with jobs."""

    url: str
    redis: RedisServer


@contextlib.contextmanager
def job_stack(folder: Path, *server_flags: str, worker_flags: tuple[str, ...] = ()) -> Iterator[JobStack]:
    """Run a Redis, a server and a worker for as long as a test needs them."""
    with (
        redis_server(folder, "--appendonly", "yes") as redis,
        launched("tests.support.fakeserver", "--jobs", redis.url, *DOORBELL, *server_flags) as server,
        job_worker(redis.url, server.url, *worker_flags),
    ):
        yield JobStack(server.url, redis)


@contextlib.contextmanager
def job_worker(redis_url: str, server_url: str, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `shortlist worker` until the end of the block."""
    command = [sys.executable, "-m", "shortlist", "worker", "--jobs", redis_url, "--server", server_url, *DOORBELL, *flags]
    with open(os.memfd_create("worker-output"), "w+b") as output:  # noqa: PTH123
        process = subprocess.Popen(command, stdout=output, stderr=output)
        said = lambda: os.pread(output.fileno(), 1_000_000, 0)  # noqa: E731
        try:
            wait_until(lambda: process.poll() is not None or b"the worker is ready" in said(), START_S)
            assert process.poll() is None, said().decode()
            yield process
        finally:
            process.kill()
            process.wait(timeout=10)
