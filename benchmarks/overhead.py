"""Measures the overhead of servers with a model of negligible cost: documents/s over HTTP, of Shortlist and vLLM's CPU server.

    .venv/bin/python -m benchmarks.overhead [--rounds N] [--only ours] [--only nothing] [--vllm PYTHON]

The model has 2 layers of width 64 and random weights. `nothing` is Shortlist's server with an engine that computes nothing. 16
clients, each with its own connection, send requests of 100 new documents of 100 tokens. All servers run, and take turns within
a round. Shortlist gets texts to rerank. vLLM gets the same texts with the official prompt to classify, which gives the same
scores. Nothing is cached. The CPU time is that of the server's process alone. Then one client sends requests of 10 documents.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.loads import BenchLoad, RequestWriter
from benchmarks.peers.prompt import PREFIX, SUFFIX, body
from benchmarks.peers.vllm.contender import AS_CLASSIFIER, free_port, stop
from shortlist.bench.machine import describe
from shortlist.bench.texts import LoadRequest, sentences
from tests.support import qwen

MODEL = Path("build/null-model")
VLLM = Path("benchmarks/.environments/vllm/bin/python")
DOCUMENTS, TOKENS, CLIENTS = 100, 100, 16
REQUESTS = {"ours": 150, "nothing": 300, "vllm": 32}
"""Requests per round: a few seconds for each server."""

SINGLE_REQUESTS, SINGLE_DOCUMENTS = 50, 10
"""Number of requests of the single client, and documents in each."""

OURS = {"ours": "shortlist", "nothing": "benchmarks.nothing"}
"""Command-line module by server."""

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class MeasuredServer:
    """A running server, and the path of its requests."""

    name: str
    port: int
    path: str
    pid: int

    def bodies(self, requests: Sequence[LoadRequest]) -> list[bytes]:
        """Return the request bodies for this server."""
        if self.name in OURS:
            messages: list[dict[str, object]] = [{"query": each.query, "documents": each.documents} for each in requests]
        else:
            prompts = ([PREFIX + body(each.query, text) + SUFFIX for text in each.documents] for each in requests)
            messages = [{"input": texts, "add_special_tokens": False} for texts in prompts]
        return [json.dumps(each).encode() for each in messages]


@contextmanager
def running(name: str, command: Sequence[str], port: int, path: str, environment: dict[str, str]) -> Iterator[MeasuredServer]:
    """Run a server for the duration of the block."""
    log = Path(f"build/overhead-{name}.log").open("wb")  # noqa: SIM115 - closed below
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 600
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start; see {log.name}")
            time.sleep(0.5)
        yield MeasuredServer(name, port, path, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        stop(process)
        log.close()


def answers(port: int) -> bool:
    """Return whether the server answers `/health`."""
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def ours(name: str, model: Path) -> tuple[str, list[str], int, str, dict[str, str]]:
    """Return how to run and to call a Shortlist server, by its command-line module."""
    port = free_port()
    flags = ["--random-weights", "--cache-bytes", "0", "--no-ui", "--log-level", "warning"]
    command = [sys.executable, "-m", OURS[name], "serve", "--reranker", str(model), "--port", str(port), *flags]
    return name, command, port, "/v1/rerank", dict(os.environ)


def vllm(model: Path, python: Path) -> tuple[str, list[str], int, str, dict[str, str]]:
    """Return how to run and to call vLLM: its defaults, the overrides for official scores, and all cores for its engine."""
    port, cores = free_port(), ",".join(map(str, sorted(os.sched_getaffinity(0))))
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--runner", "pooling", "--dtype", "bfloat16", "--max-model-len", "8192"]
    command += ["--hf-overrides", json.dumps(AS_CLASSIFIER), "--disable-uvicorn-access-log"]
    environment = {**os.environ, "VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "4", "HF_HUB_OFFLINE": "1"}
    environment |= {"VLLM_CPU_OMP_THREADS_BIND": cores, "VLLM_NO_USAGE_STATS": "1"}
    return "vllm", command, port, "/classify", environment


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process in seconds.

    Source: proc(5), fields 14 and 15 of stat.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def answers_of(server: MeasuredServer, bodies: Sequence[bytes], num_clients: int = CLIENTS) -> list[float]:
    """Send all bodies from concurrent clients; return the seconds of every answer."""
    remaining, answer_s = iter(bodies), []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for content in remaining:
            started_s = time.perf_counter()
            header = f"POST {server.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            writer.write(f"{header}content-length: {len(content)}\r\n\r\n".encode() + content)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            results = await reader.readexactly(int(answer.partition(b"content-length:")[2].split(b"\r\n")[0]))
            if not answer.startswith(b"http/1.1 200"):
                raise SystemExit(f"{server.name} answered: {results[:300]!r}")
            answer_s.append(time.perf_counter() - started_s)
        writer.close()

    await asyncio.gather(*(client() for _ in range(num_clients)))
    return answer_s


async def documents_per_s(server: MeasuredServer, bodies: Sequence[bytes]) -> float:
    """Return the documents per second of a server."""
    started_s = time.perf_counter()
    await answers_of(server, bodies)
    return DOCUMENTS * len(bodies) / (time.perf_counter() - started_s)


@dataclass
class OverheadResult:
    """The measurements of one server: every round, and the requests of a single client."""

    rates: list[float] = field(default_factory=list)
    costs_s: list[float] = field(default_factory=list)
    alone_s: list[float] = field(default_factory=list)

    def row(self, name: str) -> str:
        """Return the table row."""
        rate, cost_s, alone_s = map(statistics.median, (self.rates, self.costs_s, self.alone_s))
        rates = f"{rate:,.0f} | {min(self.rates):,.0f}–{max(self.rates):,.0f}"
        return f"| `{name}` | {rates} | {1e6 * cost_s:.0f} µs | {1e3 * alone_s:.1f} ms |"


def main() -> None:
    """Run the benchmark and print the result as Markdown."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", action="append", choices=sorted(REQUESTS), help="measure only this server")
    options.add_argument("--vllm", type=Path, default=VLLM, help="the Python of an environment with vLLM's CPU build")
    arguments = options.parse_args()
    if not (MODEL / "tokenizer_config.json").is_file():
        qwen.write_model(MODEL, kind="reranker", shape="null", dtype="bfloat16")
    writer, number = RequestWriter(Tokenizer.from_file(str(MODEL / "tokenizer.json")), sentences()), iter(range(10**9))

    def fresh(count: int, num_documents: int = DOCUMENTS) -> list[LoadRequest]:
        return [writer.request(BenchLoad("", num_documents, TOKENS), f"overhead-{next(number)}") for _ in range(count)]

    results = {name: OverheadResult() for name in arguments.only or REQUESTS}
    with ExitStack() as served:
        commands = [vllm(MODEL, arguments.vllm) if name == "vllm" else ours(name, MODEL) for name in results]
        servers = [served.enter_context(running(*command)) for command in commands]
        for turn in range(arguments.rounds + 1):
            for server in servers[:: 1 if turn % 2 else -1]:
                bodies = server.bodies(fresh(REQUESTS[server.name] if turn else 16))
                before_s = cpu_s(server.pid)
                rate = asyncio.run(documents_per_s(server, bodies))
                print(f"round {turn}, {server.name}: {rate:,.0f} documents/s", file=sys.stderr)
                if turn:  # round 0 is the warm-up
                    results[server.name].rates.append(rate)
                    results[server.name].costs_s.append((cpu_s(server.pid) - before_s) / DOCUMENTS / len(bodies))
        for server in servers:
            bodies = server.bodies(fresh(SINGLE_REQUESTS, SINGLE_DOCUMENTS))
            results[server.name].alone_s += asyncio.run(answers_of(server, bodies, num_clients=1))
    machine = describe()
    print(f"{machine.cpu}, {machine.num_cores} cores, {machine.date}\n")
    print("| server | documents/s, median | from–to | processor time a document | 10 documents, one client |")
    print("| --- | ---: | --- | ---: | ---: |")
    for name, measured in results.items():
        print(measured.row(name))
    if {"ours", "vllm"} <= results.keys():
        ratios = [one / other for one, other in zip(results["ours"].rates, results["vllm"].rates, strict=True)]
        print(f"\nWithin a round, ours / vLLM: median {statistics.median(ratios):.1f}, {min(ratios):.1f}–{max(ratios):.1f}.")


if __name__ == "__main__":
    main()
