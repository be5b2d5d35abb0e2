"""Measures the CPU time of a request whose scores are all cached, beside a server that only parses and writes the bodies.

    .venv/bin/python -m benchmarks.hits [--requests N] [--rounds N]

One request of 100 documents of 100 tokens is repeated on one connection; only the first one is computed. The bare server is
uvicorn with an app of one function, which parses the body and serializes the same answer with orjson. The CPU time of both
comes from /proc, before and after each round. The servers take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from contextlib import ExitStack

import orjson
from tokenizers import Tokenizer

from benchmarks.loads import BenchLoad, RequestWriter
from benchmarks.overhead import MODEL, cpu_s, running
from benchmarks.peers.vllm.contender import free_port
from shortlist.bench.machine import describe
from shortlist.bench.texts import sentences
from tests.support import qwen

DOCUMENTS, TOKENS = 100, 100


async def ask(port: int, content: bytes, times: int) -> tuple[bytes, float]:
    """Send a body repeatedly on one connection; return the last answer's body and the seconds of all requests."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    header = f"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n\r\n"
    started_s, found = time.perf_counter(), b""
    for _ in range(times):
        writer.write(header.encode() + content)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        found = await reader.readexactly(int(answer.partition(b"content-length:")[2].split(b"\r\n")[0]))
        assert answer.startswith(b"http/1.1 200"), found[:300]
    writer.close()
    return found, time.perf_counter() - started_s


BARE = """
import sys, orjson, uvicorn
from pathlib import Path

found = orjson.loads(Path(sys.argv[1]).read_bytes())

async def app(scope, receive, send):
    if scope["type"] == "http":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if body:
            orjson.loads(body)
        answer = orjson.dumps(found)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
"""


def main() -> None:
    """Run the benchmark and print the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=5)
    arguments = options.parse_args()
    if not (MODEL / "tokenizer_config.json").is_file():
        qwen.write_model(MODEL, kind="reranker", shape="null", dtype="bfloat16")
    writer = RequestWriter(Tokenizer.from_file(str(MODEL / "tokenizer.json")), sentences())
    request = writer.request(BenchLoad("", DOCUMENTS, TOKENS), "hits")
    content = orjson.dumps({"query": request.query, "documents": request.documents})
    port = free_port()
    flags = ["--random-weights", "--no-ui", "--log-level", "warning", "--port", str(port)]
    command = [sys.executable, "-m", "shortlist", "serve", "--reranker", str(MODEL), *flags]
    found: dict[str, list[float]] = {"ours": [], "bare": []}
    seconds = []
    with ExitStack() as served:
        ours = served.enter_context(running("hits", command, port, "/v1/rerank", dict(os.environ)))
        answer, _ = asyncio.run(ask(port, content, 50))
        answer_file = MODEL.parent / "hits-answer.json"
        answer_file.write_bytes(answer)
        bare_port = free_port()
        bare = [sys.executable, "-c", BARE, str(answer_file), str(bare_port)]
        servers = [ours, served.enter_context(running("bare", bare, bare_port, "/", dict(os.environ)))]
        asyncio.run(ask(bare_port, content, 50))
        for turn in range(arguments.rounds):
            for server in servers[:: 1 if turn % 2 else -1]:
                before_s = cpu_s(server.pid)
                _, took_s = asyncio.run(ask(server.port, content, arguments.requests))
                name = "bare" if server.name == "bare" else "ours"
                found[name].append((cpu_s(server.pid) - before_s) / arguments.requests)
                if name == "ours":
                    seconds.append(took_s / arguments.requests)
    ratios = [one / another for one, another in zip(found["ours"], found["bare"], strict=True)]
    machine = describe()
    cost_s, bare_s, request_s = map(statistics.median, (found["ours"], found["bare"], seconds))
    print(f"{machine.cpu}, {machine.num_cores} cores, {machine.date}; {len(content):,} bytes in, {len(answer):,} bytes out")
    print(f"CPU time per request: {1e3 * cost_s:.2f} ms; bare server: {1e3 * bare_s:.2f} ms")
    print(f"ratio within a round: median {statistics.median(ratios):.1f}, {min(ratios):.1f}-{max(ratios):.1f}")
    print(f"documents/s: {DOCUMENTS / request_s:,.0f} on one connection, {DOCUMENTS / cost_s:,.0f} by CPU time")


if __name__ == "__main__":
    main()
