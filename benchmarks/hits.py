"""What a request costs when every score is remembered: processor time, beside that of only reading and writing the bodies.

    .venv/bin/python -m benchmarks.hits [--requests N] [--rounds N]

One request of 100 documents of 100 tokens is asked again and again on one connection, after a first time that computes it.
The server's processor time is read from /proc before and after; then the same body is parsed and the same answer
serialised as often by orjson alone, in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

import orjson
from benchmarks.overhead import MODEL, running
from benchmarks.peers.vllm.contender import free_port
from tokenizers import Tokenizer

from shortlist.bench.corpus import sentences
from shortlist.bench.loads import Load, Writer
from shortlist.bench.machine import describe
from tests.support import qwen

DOCUMENTS, TOKENS = 100, 100
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the processor time of a process so far. Source: proc(5), fields 14 and 15 of stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def ask(port: int, content: bytes, times: int) -> tuple[bytes, float]:
    """Send a body so many times on one connection; return the last answer's body and the seconds it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n\r\n"
    started_s = time.perf_counter()
    for _ in range(times):
        writer.write(head.encode() + content)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        found = await reader.readexactly(int(answer.partition(b"content-length:")[2].split(b"\r\n")[0]))
        assert answer.startswith(b"http/1.1 200"), found[:300]
    writer.close()
    return found, time.perf_counter() - started_s


def main() -> None:
    """Run, and print what was found."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    if not (MODEL / "tokenizer_config.json").is_file():
        qwen.write_model(MODEL, kind="reranker", shape="null", dtype="bfloat16")
    writer = Writer(Tokenizer.from_file(str(MODEL / "tokenizer.json")), sentences())
    request = writer.request(Load("", DOCUMENTS, TOKENS), "hits")
    content = orjson.dumps({"query": request.query, "documents": request.documents})
    port = free_port()
    flags = ["--random-weights", "--no-ui", "--log-level", "warning", "--port", str(port)]
    command = [sys.executable, "-m", "shortlist", "serve", "--reranker", str(MODEL), *flags]
    served, bare, seconds = [], [], []
    with running("hits", command, port, "/v1/rerank", dict(os.environ)) as server:
        answer, _ = asyncio.run(ask(port, content, 50))
        parsed = orjson.loads(answer)
        for _ in range(given.rounds):
            before_s = cpu_s(server.pid)
            _, took_s = asyncio.run(ask(port, content, given.requests))
            served.append((cpu_s(server.pid) - before_s) / given.requests)
            seconds.append(took_s / given.requests)
            before_s = time.process_time()
            for _ in range(given.requests):
                orjson.loads(content)
                orjson.dumps(parsed)
            bare.append((time.process_time() - before_s) / given.requests)
    ratios = [one / other for one, other in zip(served, bare, strict=True)]
    machine = describe()
    cost_s, alone_s, turn_s = statistics.median(served), statistics.median(bare), statistics.median(seconds)
    print(f"{machine.cpu}, {machine.num_cores} cores, {machine.date}; {len(content):,} bytes in, {len(answer):,} bytes out")
    print(f"processor time a request: {1e3 * cost_s:.2f} ms; reading and writing alone: {1e3 * alone_s:.2f} ms")
    print(f"ratio within a round: median {statistics.median(ratios):.1f}, {min(ratios):.1f}-{max(ratios):.1f}")
    print(f"documents/s: {DOCUMENTS / turn_s:,.0f} on one connection, {DOCUMENTS / cost_s:,.0f} by processor time")


if __name__ == "__main__":
    main()
