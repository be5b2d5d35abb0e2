"""Compares vLLM behind Shortlist with the same vLLM called directly at /rerank, on one machine.

    .venv/bin/python -m benchmarks.vllm_behind [--rounds N] [--turns N] [--markdown docs/benchmarks.md#behind]

Both paths use the same vLLM and take turns; the order alternates. With the 0.6B shape: one client, 10x100 and 30x200 (documents
x tokens). With a model of negligible cost, to measure the serving alone: 16 clients, 100x100. Every request is new, so that no
cache helps. Within a turn, the single client sends the same number of tokens on both paths. Weights are random, because the
speed does not depend on their values. Requires `benchmarks/peers/environment vllm`.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.loads import BenchLoad, RequestWriter
from benchmarks.overhead import CLIENTS, DOCUMENTS, TOKENS, MeasuredServer, documents_per_s, running
from benchmarks.overhead import MODEL as NULL_MODEL
from benchmarks.peers.prompt import PREFIX, SUFFIX, body
from benchmarks.peers.vllm.contender import AS_CLASSIFIER, TUNED, free_port
from shortlist.bench import markdown
from shortlist.bench.machine import describe
from shortlist.bench.tables import machine_line
from shortlist.bench.texts import LoadRequest, sentences
from tests.support import qwen

FULL_MODEL = Path("build/bench-model")
VLLM = Path("benchmarks/.environments/vllm/bin/vllm")
FULL_LOADS = ("10x100", "30x200")
MANY_CLIENTS_LOAD = BenchLoad(f"{DOCUMENTS}x{TOKENS}", DOCUMENTS, TOKENS)
REQUESTS = 4 * CLIENTS
"""Requests of all clients in one turn."""
MAX_LEN = "4096"
TIMEOUT_S = 600.0

# /rerank needs this template, besides the overrides, for official scores. The template engine drops the last newline.
TEMPLATE = PREFIX + body(
    '{{ (messages | selectattr("role", "eq", "query") | first).content }}',
    '{{ (messages | selectattr("role", "eq", "document") | first).content }}',
)
TEMPLATE += SUFFIX + "\n"

Found = dict[str, list[float]]


@dataclass(frozen=True)
class ProxyRow:
    """The measurements of one load, by path: seconds of every request, or documents/s of every turn."""

    load: str
    callers: int
    unit: str
    found: Mapping[str, Sequence[float]]

    @property
    def cells(self) -> list[str]:
        """The cells of the table row."""
        direct, ours = self.found["direct"], self.found["ours"]
        pairs = zip(direct, ours, strict=True) if self.unit == "s" else zip(ours, direct, strict=True)
        summaries = [_median_and_range(values) for values in (direct, ours, [one / other for one, other in pairs])]
        return [self.load, str(self.callers), self.unit, *(cell for pair in summaries for cell in pair)]


COLUMNS = ("load", "callers", "unit", "direct", "from–to", "through Shortlist", "from–to", "times as fast", "from–to")


def main() -> int:
    """Run the benchmark, print the result and write it to the document, if any; return the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7, help="requests per path for each load of the 0.6B shape (default 7)")
    options.add_argument("--turns", type=int, default=5, help="turns with many clients (default 5)")
    options.add_argument("--markdown", type=Path, help="a document; #NAME selects the markers of that name")
    arguments = options.parse_args()
    differences: list[float] = []
    rows = []
    with both_paths(model_of(FULL_MODEL, "0.6b")) as pair:
        differences.append(pair.largest_difference())
        rows += [
            ProxyRow(f"{load}, 0.6B shape", 1, "s", pair.one_client(BenchLoad.parse(load), arguments.rounds))
            for load in FULL_LOADS
        ]
    with both_paths(model_of(NULL_MODEL, "null")) as pair:
        differences.append(pair.largest_difference())
        rows.append(
            ProxyRow(
                f"{MANY_CLIENTS_LOAD.name}, 2 layers of width 64", CLIENTS, "documents/s", pair.many_clients(arguments.turns)
            )
        )
    lines = list(report(rows, differences, arguments))
    print("\n".join(lines))
    if arguments.markdown is not None:
        markdown.put(markdown.enclosed(lines, arguments.markdown), arguments.markdown)
    return 0


def report(rows: Sequence[ProxyRow], differences: Sequence[float], arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the report."""
    yield ""
    yield f"Machine: {machine_line(describe())}; `--rounds {arguments.rounds} --turns {arguments.turns}`."
    yield from markdown.table(COLUMNS, [row.cells for row in rows], words={"load", "unit"})
    yield ""
    yield "- Medians, with the smallest and the largest value. Times as fast: within a turn, which measures each path once."
    yield f"- Scores of ten documents on both paths: at most {max(differences):.4f} apart."


@dataclass(frozen=True)
class Pair:
    """One vLLM with two paths: direct, and through Shortlist."""

    direct: MeasuredServer
    ours: MeasuredServer
    writer: RequestWriter

    def one_client(self, load: BenchLoad, rounds: int) -> Found:
        """Return the seconds of every request of one client, by path."""
        found: Found = {"direct": [], "ours": []}
        requests = [self._equal_requests(load, turn) for turn in range(rounds + 1)]
        for turn, server in self._turns(rounds):
            seconds, _ = ask(server, requests[turn][server.name])
            print(f"{load.name}, turn {turn}, {server.name}: {seconds:.2f} s", file=sys.stderr)
            if turn:  # turn 0 is the warm-up
                found[server.name].append(seconds)
        return found

    def many_clients(self, turns: int) -> Found:
        """Return the documents/s of every turn with many clients, by path."""
        found: Found = {"direct": [], "ours": []}
        for turn, server in self._turns(turns):
            names = [f"{server.name} {turn} {number}" for number in range(REQUESTS if turn else CLIENTS)]
            requests = [self.writer.request(MANY_CLIENTS_LOAD, name) for name in names]
            rate = asyncio.run(documents_per_s(server, [content(request) for request in requests]))
            print(f"crowd, turn {turn}, {server.name}: {rate:,.0f} documents/s", file=sys.stderr)
            if turn:
                found[server.name].append(rate)
        return found

    def largest_difference(self) -> float:
        """Return the largest score difference between the paths; equal scores make the speeds comparable."""
        request = self.writer.request(BenchLoad.parse("10x100"), "the same")
        (_, one), (_, other) = ask(self.direct, request), ask(self.ours, request)
        return max(abs(one[index] - other[index]) for index in one)

    def _equal_requests(self, load: BenchLoad, turn: int) -> dict[str, LoadRequest]:
        """Return one request per path, with different texts and the same number of tokens."""
        first = self.writer.request(load, f"{turn}")
        others = (self.writer.request(load, f"{turn} {number}") for number in itertools.count())
        length = self.writer.num_tokens(first.query)
        return {"direct": first, "ours": next(each for each in others if self.writer.num_tokens(each.query) == length)}

    def _turns(self, count: int) -> Iterator[tuple[int, MeasuredServer]]:
        for turn in range(count + 1):
            for server in (self.direct, self.ours)[:: 1 if turn % 2 else -1]:
                yield turn, server


def content(request: LoadRequest) -> bytes:
    """Return the request body, which is the same for both paths."""
    return json.dumps({"query": request.query, "documents": request.documents}).encode()


def ask(server: MeasuredServer, request: LoadRequest) -> tuple[float, dict[int, float]]:
    """Send a request; return the seconds until the answer, and its scores."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    started_s = time.perf_counter()
    connection.request("POST", server.path, content(request), {"content-type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    seconds = time.perf_counter() - started_s
    connection.close()
    if response.status != http.HTTPStatus.OK:
        raise SystemExit(f"{server.name} answered {response.status}: {answer[:300]!r}")
    return seconds, {result["index"]: result["relevance_score"] for result in json.loads(answer)["results"]}


def model_of(folder: Path, shape: str) -> Path:
    """Return a model with random weights; write it if it does not exist."""
    if not (folder / "tokenizer_config.json").is_file():
        qwen.write_model(folder, kind="reranker", shape=shape, dtype="bfloat16")
    return folder


@contextmanager
def both_paths(model: Path) -> Iterator[Pair]:
    """Run vLLM, and Shortlist in front of it, for the duration of the block."""
    template = Path("build/behind.jinja")
    template.write_text(TEMPLATE)
    port, our_port, cores = free_port(), free_port(), ",".join(map(str, sorted(os.sched_getaffinity(0))))
    vllm = [str(VLLM), "serve", str(model), "--runner", "pooling", "--hf-overrides", json.dumps(AS_CLASSIFIER), *TUNED["cpu"]]
    vllm += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16", "--max-model-len", MAX_LEN]
    vllm += ["--chat-template", str(template), "--disable-uvicorn-access-log"]
    environ = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_CPU_OMP_THREADS_BIND": cores}
    environ |= {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    ours = [sys.executable, "-m", "shortlist", "serve", "--reranker", str(model), "--engine", "vllm"]
    ours += ["--upstream", f"http://127.0.0.1:{port}", "--port", str(our_port), "--random-weights", "--no-ui"]
    ours += ["--max-model-len", MAX_LEN, "--cache-bytes", "0", "--log-level", "warning"]
    ours += ["--max-queue-delay-ms", str(int(1000 * TIMEOUT_S))]  # requests wait, as with vLLM
    writer = RequestWriter(Tokenizer.from_file(str(model / "tokenizer.json")), sentences())
    with (
        running("direct", vllm, port, "/rerank", environ) as direct,
        running("ours", ours, our_port, "/v1/rerank", dict(os.environ)) as through,
    ):
        yield Pair(direct, through, writer)


def _median_and_range(values: Sequence[float]) -> tuple[str, str]:
    return _digits(statistics.median(values)), f"{_digits(min(values))}–{_digits(max(values))}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
