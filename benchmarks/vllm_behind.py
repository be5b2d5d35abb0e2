#!/usr/bin/env python3
"""What vLLM answers directly at /rerank, and through Shortlist, in turns, on one machine.

benchmarks/vllm_behind.py [--quick]

Full shape: one caller, 10x100 and 30x200 (documents x tokens). Tiny model, where serving is all there is: 16 callers.
Both ask the same vLLM, with the same new texts: first one, then the other, then the other way around. Needs the
environments of `make test` and of `benchmarks/peers/environment vllm`, half an hour, and a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parent.parent
PYTHON = os.environ.get("PYTHON", str(HOUSE / ".venv" / "bin" / "python"))
VLLM = HOUSE / "benchmarks" / ".environments" / "vllm" / "bin" / "vllm"
START_S = 900.0
WORDS = ("time", "people", "water", "house", "light", "paper", "music", "river", "open", "file", "json", "snake", "bread")
FULL_LOADS = ((10, 100), (30, 200))
TINY_USERS, TINY_LOAD = 16, (100, 100)

# What a person has to know to have /rerank score officially: the overrides, and this. Whatever follows the document is cut
# with it if a prompt is too long, so the texts here are short enough.
TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
    '<Query>: {{ (messages | selectattr("role", "eq", "query") | first).content }}\n'
    '<Document>: {{ (messages | selectattr("role", "eq", "document") | first).content }}'
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n\n"  # the template engine drops the last newline of a file
)

Ask = Callable[[str, list[str]], dict[int, float]]


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="turns of the full shape (default 10)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of every turn of the tiny model (default 20)")
    parser.add_argument("--quick", action="store_true", help="the tiny model alone, one short turn: does it work?")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not asked.quick:
            with both(Path(folder), "0.6b") as (direct, ours):
                for documents, tokens in FULL_LOADS:
                    alone(direct, ours, documents, tokens, asked.rounds)
        with both(Path(folder), "tiny") as (direct, ours):
            crowd(direct, ours, 3.0 if asked.quick else asked.seconds, 1 if asked.quick else 3)
    return 0


def alone(direct: Ask, ours: Ask, documents: int, tokens: int, rounds: int) -> None:
    """One caller, in turns; every turn a new query and new documents."""
    took: dict[str, list[float]] = {"direct": [], "ours": []}
    for number in range(rounds + 1):
        query, texts = text(12, number), [text(tokens, (number, index)) for index in range(documents)]
        scores: dict[str, dict[int, float]] = {}
        for name, ask in turns(direct, ours, number):
            # The same words in the same places, but another query each: neither finds what the other left in the cache.
            started_s = time.perf_counter()
            scores[name] = ask(f"{name} {query}", texts)
            if number:  # the first turn warms up
                took[name].append(time.perf_counter() - started_s)
    for name, seconds in took.items():
        print(f"0.6B {documents}x{tokens} {name:6} median {statistics.median(seconds):.3f} s, best {min(seconds):.3f} s")
    ratio = statistics.median(one / other for one, other in zip(took["direct"], took["ours"], strict=True))
    print(f"0.6B {documents}x{tokens} ours is {ratio:.2f} times as fast as direct (median of pairs; wanted: at least 1)")


def crowd(direct: Ask, ours: Ask, seconds: float, rounds: int) -> None:
    """Many callers, in turns."""
    rates: dict[str, list[float]] = {"direct": [], "ours": []}
    for number in range(rounds):
        for name, ask in turns(direct, ours, number):
            rates[name].append(rate(ask, seconds, f"{name} {number}"))
            print(f"tiny {TINY_USERS} users {name:6} {rates[name][-1]:.0f} documents/s", flush=True)
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["direct"])
    print(f"tiny {TINY_USERS} users: ours answers {ratio:.2f} times the documents of direct (wanted: at least 1.5)")


def rate(ask: Ask, seconds: float, name: str) -> float:
    """Return documents a second over all callers."""
    documents, tokens = TINY_LOAD
    until_s = time.perf_counter() + seconds

    def user(number: int) -> int:
        done = 0
        while time.perf_counter() < until_s:
            seed = f"{name} {number} {done}"
            ask(text(12, seed), [text(tokens, (seed, index)) for index in range(documents)])
            done += documents
        return done

    started_s = time.perf_counter()
    with ThreadPoolExecutor(TINY_USERS) as pool:
        total = sum(pool.map(user, range(TINY_USERS)))
    return total / (time.perf_counter() - started_s)


def turns(direct: Ask, ours: Ask, number: int) -> list[tuple[str, Ask]]:
    """Return who is asked first, and second."""
    pair = [("direct", direct), ("ours", ours)]
    return pair if number % 2 else pair[::-1]


def text(num_tokens: int, seed: object) -> str:
    """Return so many words, which are a token each."""
    return " ".join(random.Random(repr(seed)).choices(WORDS, k=num_tokens))


# -- who is asked -------------------------------------------------------------------------------------------------------


@contextmanager
def both(folder: Path, shape: str) -> Iterator[tuple[Ask, Ask]]:
    """Serve a model by one vLLM, with Shortlist beside it, for as long as the block runs."""
    model, template = folder / shape, folder / "template.jinja"
    made = [PYTHON, "-m", "tests.support.qwen", str(model), "--shape", shape, "--kind", "reranker", "--dtype", "bfloat16"]
    subprocess.run(made, cwd=HOUSE, check=True)
    template.write_text(TEMPLATE)
    port, our_port = 8461, 8462
    overrides = {
        "architectures": ["Qwen3ForSequenceClassification"],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
    }
    vllm = [str(VLLM), "serve", str(model), "--runner", "pooling", "--hf-overrides", json.dumps(overrides), "--port", str(port)]
    vllm += ["--dtype", "bfloat16", "--max-model-len", "4096", "--max-num-batched-tokens", "8192", "--block-size", "32"]
    vllm += ["--chat-template", str(template), "--disable-uvicorn-access-log"]
    ours = [
        PYTHON,
        "-m",
        "shortlist",
        "serve",
        "--reranker",
        str(model),
        "--engine",
        "vllm",
        "--upstream",
        f"http://127.0.0.1:{port}",
    ]
    ours += ["--random-weights", "--no-ui", "--max-model-len", "4096", "--cache-bytes", "0", "--port", str(our_port)]
    ours += ["--log-level", "warning"]
    cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
    environ = {
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_CPU_OMP_THREADS_BIND": cores,
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with (
        running(vllm, environ, f"http://127.0.0.1:{port}/health"),
        running(ours, {"PYTHONPATH": str(HOUSE / "src")}, f"http://127.0.0.1:{our_port}/ready"),
    ):
        direct_ask = asker(f"http://127.0.0.1:{port}/rerank")
        our_ask = asker(f"http://127.0.0.1:{our_port}/v1/rerank")
        check(direct_ask, our_ask)
        yield direct_ask, our_ask


def check(direct: Ask, ours: Ask) -> None:
    """Print how far the two are apart: what is faster by computing something else is not faster."""
    query, texts = text(12, "check"), [text(100, ("check", index)) for index in range(10)]
    one, other = direct(query, texts), ours(query, texts)
    print(f"largest difference of scores: {max(abs(one[index] - other[index]) for index in one):.4f}", flush=True)


def asker(url: str) -> Ask:
    """Return a function that reranks over HTTP; one connection per call for both, as the standard library has it."""

    def ask(query: str, documents: list[str]) -> dict[int, float]:
        body = json.dumps({"query": query, "documents": documents}).encode()
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=START_S) as response:
            answer: dict[str, Any] = json.load(response)
        return {result["index"]: result["relevance_score"] for result in answer["results"]}

    return ask


@contextmanager
def running(command: list[str], environ: dict[str, str], ready: str) -> Iterator[None]:
    """Run a server until the block ends; its log is shown if it does not start."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=HOUSE, env={**os.environ, **environ}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait(process, ready)
            yield
        except RuntimeError:
            log.seek(0)
            sys.stderr.buffer.write(log.read()[-4000:])
            raise
        finally:
            end(process)


def wait(process: subprocess.Popen[bytes], url: str) -> None:
    """Return once the address answers.

    Raises:
        RuntimeError: The process ended, or it took too long.
    """
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError(f"{process.args} did not start")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":
    sys.exit(main())
