"""What vLLM answers when it is asked through Shortlist, beside what it answers directly at /rerank, on one machine.

    .venv/bin/python -m benchmarks.vllm_behind [--rounds N] [--turns N] [--markdown docs/benchmarks.md#behind]

Both ask the same vLLM, in turns: first one, then the other, then the other way around. Full shape: one caller, 10x100 and
30x200 (documents x tokens). A model that costs nothing, so that serving is all there is: 16 callers who ask for 100x100.
Every request is new, so that no cache helps; what one caller asks in a turn has as many tokens both ways. Weights are random:
what is computed does not depend on what it means. Needs `benchmarks/peers/environment vllm`.
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
CROWD_LOAD = BenchLoad(f"{DOCUMENTS}x{TOKENS}", DOCUMENTS, TOKENS)
ASKED = 4 * CLIENTS
"""Requests of one turn of the crowd."""
MAX_LEN = "4096"
TIMEOUT_S = 600.0

# What a person has to know to have /rerank score officially, besides the overrides. The template engine drops the last newline.
TEMPLATE = PREFIX + body(
    '{{ (messages | selectattr("role", "eq", "query") | first).content }}',
    '{{ (messages | selectattr("role", "eq", "document") | first).content }}',
)
TEMPLATE += SUFFIX + "\n"

Found = dict[str, list[float]]


@dataclass(frozen=True)
class ProxyRow:
    """What came of one load: seconds of every request, or documents/s of every turn, by who was asked."""

    load: str
    callers: int
    unit: str
    found: Mapping[str, Sequence[float]]

    @property
    def cells(self) -> list[str]:
        """The columns of its line."""
        direct, ours = self.found["direct"], self.found["ours"]
        pairs = zip(direct, ours, strict=True) if self.unit == "s" else zip(ours, direct, strict=True)
        shown = [_median_and_range(values) for values in (direct, ours, [one / other for one, other in pairs])]
        return [self.load, str(self.callers), self.unit, *(cell for pair in shown for cell in pair)]


COLUMNS = ("load", "callers", "unit", "direct", "from–to", "through Shortlist", "from–to", "times as fast", "from–to")


def main() -> int:
    """Measure, show what was found, and put it into a document if one is named; return the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7, help="requests of each full-shape load to each (default 7)")
    options.add_argument("--turns", type=int, default=5, help="turns of the crowd (default 5)")
    options.add_argument("--markdown", type=Path, help="a document, with #NAME the place of that name in it")
    given = options.parse_args()
    apart: list[float] = []
    rows = []
    with both(model_of(FULL_MODEL, "0.6b")) as pair:
        apart.append(pair.largest_difference())
        rows += [
            ProxyRow(f"{load}, 0.6B shape", 1, "s", pair.alone(BenchLoad.parse(load), given.rounds)) for load in FULL_LOADS
        ]
    with both(model_of(NULL_MODEL, "null")) as pair:
        apart.append(pair.largest_difference())
        rows.append(ProxyRow(f"{CROWD_LOAD.name}, 2 layers of width 64", CLIENTS, "documents/s", pair.crowd(given.turns)))
    lines = list(report(rows, apart, given))
    print("\n".join(lines))
    if given.markdown is not None:
        markdown.put(markdown.enclosed(lines, given.markdown), given.markdown)
    return 0


def report(rows: Sequence[ProxyRow], apart: Sequence[float], given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the report."""
    yield ""
    yield f"Machine: {machine_line(describe())}; `--rounds {given.rounds} --turns {given.turns}`."
    yield from markdown.table(COLUMNS, [row.cells for row in rows], words={"load", "unit"})
    yield ""
    yield "- Medians, with the smallest and the largest value; times as fast: within a turn, in which both are asked once."
    yield f"- Scores of ten documents, asked both ways: at most {max(apart):.4f} apart."


@dataclass(frozen=True)
class Pair:
    """One vLLM, and the two ways to ask it."""

    direct: MeasuredServer
    ours: MeasuredServer
    writer: RequestWriter

    def alone(self, load: BenchLoad, rounds: int) -> Found:
        """Return the seconds of every request of one caller."""
        found: Found = {"direct": [], "ours": []}
        asked = [self._alike(load, turn) for turn in range(rounds + 1)]
        for turn, server in self._turns(rounds):
            seconds, _ = ask(server, asked[turn][server.name])
            print(f"{load.name}, turn {turn}, {server.name}: {seconds:.2f} s", file=sys.stderr)
            if turn:  # the first one warms up
                found[server.name].append(seconds)
        return found

    def crowd(self, turns: int) -> Found:
        """Return the documents/s of every turn of many callers."""
        found: Found = {"direct": [], "ours": []}
        for turn, server in self._turns(turns):
            names = [f"{server.name} {turn} {number}" for number in range(ASKED if turn else CLIENTS)]
            asked = [self.writer.request(CROWD_LOAD, name) for name in names]
            rate = asyncio.run(documents_per_s(server, [content(request) for request in asked]))
            print(f"crowd, turn {turn}, {server.name}: {rate:,.0f} documents/s", file=sys.stderr)
            if turn:
                found[server.name].append(rate)
        return found

    def largest_difference(self) -> float:
        """Return how far the scores of the two are apart: what is faster by computing something else is not faster."""
        request = self.writer.request(BenchLoad.parse("10x100"), "the same")
        (_, one), (_, other) = ask(self.direct, request), ask(self.ours, request)
        return max(abs(one[index] - other[index]) for index in one)

    def _alike(self, load: BenchLoad, turn: int) -> dict[str, LoadRequest]:
        """Return a request for each of the two: other words, and as much work."""
        first = self.writer.request(load, f"{turn}")
        others = (self.writer.request(load, f"{turn} {number}") for number in itertools.count())
        length = self.writer.num_tokens(first.query)
        return {"direct": first, "ours": next(each for each in others if self.writer.num_tokens(each.query) == length)}

    def _turns(self, count: int) -> Iterator[tuple[int, MeasuredServer]]:
        for turn in range(count + 1):
            for server in (self.direct, self.ours)[:: 1 if turn % 2 else -1]:
                yield turn, server


def content(request: LoadRequest) -> bytes:
    """Return a request as both understand it."""
    return json.dumps({"query": request.query, "documents": request.documents}).encode()


def ask(server: MeasuredServer, request: LoadRequest) -> tuple[float, dict[int, float]]:
    """Return the seconds that an answer took, and its scores."""
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
    """Return a model with random weights, made where it is not there yet."""
    if not (folder / "tokenizer_config.json").is_file():
        qwen.write_model(folder, kind="reranker", shape=shape, dtype="bfloat16")
    return folder


@contextmanager
def both(model: Path) -> Iterator[Pair]:
    """Serve a model by one vLLM, with Shortlist before it, for as long as the block runs."""
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
