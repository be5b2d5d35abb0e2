"""Measures durable jobs: accepted jobs/s, the time from acceptance to the end, and what a backlog costs interactive requests.

    .venv/bin/python -m benchmarks.durable_jobs [--jobs N] [--rounds N] [--model MODEL]

Redis writes every job to disk before it answers (`appendfsync always`). The server has one core, Redis and the clients have
another one. Jobs are accepted by a server with an engine that computes nothing, and no worker runs meanwhile. Then a worker
runs, and jobs are followed one by one: their events come when they happen. At last a real model ranks ten documents for one
client, without jobs and beside a backlog of them, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.overhead import MODEL, answers
from shortlist.bench.machine import describe
from tests.support import qwen
from tests.support.job_site import KEEPING
from tests.support.redis_server import RedisServer, redis_server
from tests.support.serving import free_port

CLIENTS = 32
ACCEPTED = b"HTTP/1.1 202"
NOTHING = ("benchmarks.nothing", "serve", "--reranker", str(MODEL), "--random-weights")
QUIET = ("--log-level", "warning", "--no-ui")
START_S = 120.0


def body_of(number: int, documents: int = 3) -> bytes:
    """Return a request that no other one equals."""
    texts = [f"{number}.{place}: a red fox looks for a hen house that has no dog" for place in range(documents)]
    return json.dumps({"query": f"red fox {number}", "documents": texts}).encode()


@contextmanager
def program(core: int, *command: str, port: int | None = None) -> Iterator[None]:
    """Run a module of Python on one core; with a port, from when it answers there."""
    process = subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-m", *command])
    try:
        until_s = time.monotonic() + START_S
        while port is not None and not answers(port):
            if process.poll() is not None or time.monotonic() > until_s:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


class Connection:
    """A client with one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, body: bytes, headers: str = "") -> tuple[bytes, bytes]:
        """Send a rerank request; return status and headers, and the body."""
        head = f"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return answer, await self._reader.readexactly(length)

    async def follow(self, job_id: str) -> None:
        """Read the events of a job until it has succeeded."""
        self._writer.write(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        await self._reader.readuntil(b"event: succeeded")

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def accept(port: int, bodies: Sequence[bytes]) -> float:
    """Submit all bodies as jobs from concurrent clients; return the seconds until all are accepted."""
    remaining = iter(bodies)

    async def client() -> None:
        connection = await Connection.open(port)
        for body in remaining:
            head, content = await connection.post(body, "prefer: respond-async\r\n")
            assert head.startswith(ACCEPTED), content
        connection.close()

    started_s = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return time.perf_counter() - started_s


async def accepted_to_done(port: int, numbers: range) -> list[float]:
    """Submit and follow jobs, one after another; return the seconds from the 202 to the last event of each."""
    found = []
    for number in numbers:
        submitter, follower = await Connection.open(port), await Connection.open(port)
        head, content = await submitter.post(body_of(number), "prefer: respond-async\r\n")
        accepted_s = time.perf_counter()
        assert head.startswith(ACCEPTED), content
        await follower.follow(json.loads(content)["id"])
        found.append(time.perf_counter() - accepted_s)
        submitter.close()
        follower.close()
        await asyncio.sleep(0.02)
    return found


async def interactive(port: int, numbers: range) -> list[float]:
    """Send requests of ten documents, one after another with pauses; return the seconds of each."""
    found, connection = [], await Connection.open(port)
    for number in numbers:
        started_s = time.perf_counter()
        head, content = await connection.post(body_of(number, 10))
        assert head.startswith(b"HTTP/1.1 200"), content
        found.append(time.perf_counter() - started_s)
        await asyncio.sleep(found[-1])  # half load
    connection.close()
    return found


def quantiles(seconds: Sequence[float]) -> str:
    """Describe times in milliseconds."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"median {1000 * statistics.median(ordered):.1f} ms, p99 {1000 * p99:.1f} ms, longest {1000 * ordered[-1]:.1f} ms"


def measure_acceptance(redis: RedisServer, jobs: int, rounds: int) -> None:
    """Print accepted jobs/s, without a worker."""
    port, rates = free_port(), []
    with program(0, *NOTHING, "--port", str(port), "--jobs", redis.url, *QUIET, port=port):
        for number in range(rounds + 1):
            bodies = [body_of(each) for each in range(number * jobs, (number + 1) * jobs)]
            rates.append(jobs / asyncio.run(accept(port, bodies)))
    measured = sorted(rates[1:])
    print(
        f"accepted: {statistics.median(measured):.0f} jobs/s ({measured[0]:.0f} to {measured[-1]:.0f}, {rounds} x {jobs} jobs)"
    )


def measure_latency(redis: RedisServer, doorbell: str) -> None:
    """Print the time from acceptance to the end, while nothing else is to be done."""
    port = free_port()
    common = ("--jobs", redis.url, "--job-doorbell", doorbell, "--log-level", "warning")
    server = program(0, *NOTHING, "--port", str(port), *common, "--no-ui", port=port)
    with server, program(1, "shortlist", "worker", "--server", f"http://127.0.0.1:{port}", *common):
        asyncio.run(accepted_to_done(port, range(20)))
        print(f"accepted to done, {doorbell}: {quantiles(asyncio.run(accepted_to_done(port, range(20, 320))))}")


def measure_backlog(redis: RedisServer, model: str, jobs: int) -> None:
    """Print the times of interactive requests at half load, without jobs and beside a backlog, with a real model."""
    port = free_port()
    common = ("--jobs", redis.url, "--log-level", "warning")
    server = ("shortlist", "serve", model, "--port", str(port), *common, "--no-ui", "--cache-bytes", "0")
    with program(0, *server, port=port):
        asyncio.run(interactive(port, range(100)))
        print(f"interactive, {model}, without jobs: {quantiles(asyncio.run(interactive(port, range(100, 600))))}")
        asyncio.run(accept(port, [body_of(each, 10) for each in range(jobs)]))
        with program(1, "shortlist", "worker", "--server", f"http://127.0.0.1:{port}", *common):
            asyncio.run(interactive(port, range(1000, 1100)))
            print(f"interactive, {model}, beside {jobs} jobs: {quantiles(asyncio.run(interactive(port, range(1100, 1600))))}")


def main() -> None:
    """Run the benchmark and print the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--jobs", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--model", default="demo")
    arguments = options.parse_args()
    if not (MODEL / "tokenizer_config.json").is_file():
        qwen.write_model(MODEL, kind="reranker", shape="null", dtype="bfloat16")
    print(describe())
    os.sched_setaffinity(0, {1})  # so is Redis, which is started from here
    measures: list[Callable[[RedisServer], None]] = [
        partial(measure_acceptance, jobs=arguments.jobs, rounds=arguments.rounds),
        partial(measure_latency, doorbell="celery"),
        partial(measure_latency, doorbell="streams"),
        partial(measure_backlog, model=arguments.model, jobs=arguments.jobs),
    ]
    for measure in measures:
        with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder), *KEEPING) as redis:
            measure(redis)


if __name__ == "__main__":
    main()
