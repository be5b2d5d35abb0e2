"""Everything that durable jobs run on, in processes that a test may kill: Redis with its file, servers, workers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from tests.support.process import is_ready, wait_until
from tests.support.redis_server import RedisServer
from tests.support.serving import free_port

PATIENCE_S = 60.0
ENDED = frozenset({"succeeded", "failed", "cancelled", "expired"})
KEEPING = ("--appendonly", "yes", "--appendfsync", "always")
"""With `everysec`, Redis may answer before it has written: what a kill then loses, no client of it can know."""


@dataclass
class Program:
    """A process of the site, which may be killed and started again."""

    command: list[str]
    log_file: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", *self.command], stdout=log, stderr=log)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


ProgramT = TypeVar("ProgramT", bound=Program)


@dataclass
class JobServer(Program):
    """A server with a fake engine."""

    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        wait_until(lambda: is_ready(self.url), PATIENCE_S, every_s=0.05)


@dataclass
class JobWorker(Program):
    """A worker."""

    def wait(self) -> None:
        num_before = self.log().count("the worker is ready")
        wait_until(lambda: self.log().count("the worker is ready") > num_before or num_before > 0, PATIENCE_S, every_s=0.05)


@dataclass
class Site:
    """A Redis, and what was started at it."""

    folder: Path
    redis: RedisServer
    programs: list[Program] = field(default_factory=list)

    def server(self, **flags: object) -> JobServer:
        """Start a server, without waiting for it."""
        port = free_port()
        return self._add(JobServer(self._command("fakeserver", flags, port=port), self._log(), port=port))

    def worker(self, server: str, **flags: object) -> JobWorker:
        """Start a worker, without waiting for it."""
        return self._add(JobWorker(self._command("jobworker", flags, server=server), self._log()))

    def _add(self, program: ProgramT) -> ProgramT:
        program.start()
        self.programs.append(program)
        return program

    def _command(self, module: str, flags: Mapping[str, object], **more: object) -> list[str]:
        pairs = {"jobs": self.redis.url, **more, **flags}
        return [f"tests.support.{module}", *(part for name, value in pairs.items() for part in (_flag(name), str(value)))]

    def _log(self) -> Path:
        return self.folder / f"{len(self.programs)}.log"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@contextlib.contextmanager
def job_site(folder: Path, *arguments: str) -> Iterator[Site]:
    """Run a Redis that keeps what it accepts, and whatever a test starts at it."""
    site = Site(folder, RedisServer(folder, None, arguments or KEEPING))
    site.redis.start()
    try:
        yield site
    finally:
        for program in site.programs:
            program.kill()
        site.redis.kill()


def rerank_body(number: int) -> dict[str, Any]:
    """Return a request that no other one equals, and whose scores differ."""
    return {"query": f"red fox {number}", "documents": [f"a red fox {number}", f"blue {number}", f"a red hen {number}"]}


def submitted(url: str, body: Mapping[str, Any], **headers: str) -> str:
    """Submit a rerank request as a job, and return its id."""
    answer = httpx2.post(f"{url}/v1/rerank", json=body, headers={"Prefer": "respond-async", **headers})
    assert answer.status_code == httpx2.codes.ACCEPTED, answer.text
    return str(answer.json()["id"])


def wait_for(
    url: str, job_id: str, condition: Callable[[dict[str, Any]], bool], timeout_s: float = PATIENCE_S
) -> dict[str, Any]:
    """Ask for a job until it is as wanted, and return it; servers may be away meanwhile."""
    deadline_s = time.monotonic() + timeout_s
    job: dict[str, Any] = {}
    while time.monotonic() < deadline_s:
        with contextlib.suppress(httpx2.TransportError):
            answer = httpx2.get(f"{url}/v1/jobs/{job_id}")
            job = answer.json() if answer.status_code == httpx2.codes.OK else job
            if job and condition(job):
                return job
        time.sleep(0.05)
    raise AssertionError(f"the job is still {job}")


def has_ended(job: Mapping[str, Any]) -> bool:
    return job["status"] in ENDED
