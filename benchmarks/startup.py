"""How long a server takes from its start until it is ready, with the weights in the page cache.

    .venv/bin/python -m benchmarks.startup [--rounds N] [--markdown docs/benchmarks.md#startup]

A reranker of the 0.6B shape with random weights; hashing them and the self-test are included. A server is ready when it
listens, which is tried every 10 ms.
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
    """Start a server and end it; return the seconds until it was ready, its processor time then, and its peak in bytes."""
    port = free_port()
    flags = ["--random-weights", "--no-ui", "--dtype", dtype, "--log-level", "warning", "--port", str(port)]
    command = [sys.executable, "-m", "shortlist", "serve", "--reranker", str(model), *flags]
    started_s = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        while not answers(port):
            assert server.poll() is None, "The server did not start."
            time.sleep(POLL_S)
        found = time.perf_counter() - started_s, cpu_s(server.pid), peak_bytes(server.pid)
        server.terminate()
    return found


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had. Source: proc(5), VmHWM."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main() -> None:
    """Run, and print what was found."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--markdown", type=Path, help="a document, with #NAME the place of that name in it")
    given = options.parse_args()
    model = model_of(FULL_MODEL, "0.6b")
    dtypes = ("bfloat16", "int8")
    start(model, dtypes[0])  # reads the weights into the page cache
    turns = [{dtype: start(model, dtype) for dtype in dtypes} for _ in range(given.rounds)]
    lines = "\n".join(report({dtype: [turn[dtype] for turn in turns] for dtype in dtypes}, given.rounds))
    print(lines)
    if given.markdown is not None:
        markdown.put(markdown.enclosed(lines.splitlines(), given.markdown), given.markdown)


def report(found: dict[str, Sequence[tuple[float, float, int]]], rounds: int) -> Iterator[str]:
    """Yield the lines of the report."""
    yield ""
    yield f"Machine: {machine_line(describe())}; `--rounds {rounds}`."
    rows = []
    for dtype, starts in found.items():
        ready_s, used_s, peaks = zip(*starts, strict=True)
        ready, used = (f"{statistics.median(each):.1f} s" for each in (ready_s, used_s))
        peak = f"{max(peaks) / 2**30:.2f} GiB"
        rows.append((dtype, ready, f"{min(ready_s):.1f}–{max(ready_s):.1f}", used, peak))
    yield from markdown.table(COLUMNS, rows, words={"dtype"})


if __name__ == "__main__":
    main()
