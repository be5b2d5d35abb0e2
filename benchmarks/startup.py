"""Measures the time from the start of a server until it is ready, with the weights in the page cache.

    .venv/bin/python -m benchmarks.startup [--rounds N] [--markdown docs/benchmarks.md#startup]

The model is a reranker of the 0.6B shape with random weights. The time includes hashing them and the self-test. A server is
ready when it listens; this is polled every 10 ms.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.overhead import answers, cpu_s
from benchmarks.peers.vllm.contender import free_port
from benchmarks.vllm_behind import FULL_MODEL, model_of
from shortlist.bench import markdown
from shortlist.bench.machine import describe
from shortlist.bench.tables import machine_line

POLL_S = 0.01
COLUMNS = ("dtype", "ready after", "from–to", "processor time", "memory at its highest")


def start(model: Path, dtype: str) -> tuple[float, float, int]:
    """Start a server and end it; return the seconds until ready, its CPU seconds until then, and its peak memory in bytes."""
    port = free_port()
    flags = ["--random-weights", "--no-ui", "--dtype", dtype, "--log-level", "warning", "--port", str(port)]
    command = [sys.executable, "-m", "shortlist", "serve", "--reranker", str(model), *flags]
    started_s = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        while not answers(port):
            assert server.poll() is None, "The server did not start."
            time.sleep(POLL_S)
        measured = time.perf_counter() - started_s, cpu_s(server.pid), peak_bytes(server.pid)
        server.terminate()
    return measured


def peak_bytes(pid: int) -> int:
    """Return the peak resident memory of a process in bytes.

    Source: proc(5), VmHWM.
    """
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main() -> None:
    """Run the benchmark and print the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--markdown", type=Path, help="a document; #NAME selects the markers of that name")
    arguments = options.parse_args()
    model = model_of(FULL_MODEL, "0.6b")
    dtypes = ("bfloat16", "int8")
    start(model, dtypes[0])  # reads the weights into the page cache
    turns = [{dtype: start(model, dtype) for dtype in dtypes} for _ in range(arguments.rounds)]
    lines = "\n".join(report({dtype: [turn[dtype] for turn in turns] for dtype in dtypes}, arguments.rounds))
    print(lines)
    if arguments.markdown is not None:
        markdown.put(markdown.enclosed(lines.splitlines(), arguments.markdown), arguments.markdown)


def report(measured: dict[str, Sequence[tuple[float, float, int]]], rounds: int) -> Iterator[str]:
    """Yield the lines of the report."""
    yield ""
    yield f"Machine: {machine_line(describe())}; `--rounds {rounds}`."
    rows = []
    for dtype, starts in measured.items():
        ready_s, used_s, peaks = zip(*starts, strict=True)
        ready, used = (f"{statistics.median(each):.1f} s" for each in (ready_s, used_s))
        peak = f"{max(peaks) / 2**30:.2f} GiB"
        rows.append((dtype, ready, f"{min(ready_s):.1f}–{max(ready_s):.1f}", used, peak))
    yield from markdown.table(COLUMNS, rows, words={"dtype"})


if __name__ == "__main__":
    main()
