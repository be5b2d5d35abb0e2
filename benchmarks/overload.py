"""Measures a server of known capacity at up to ten times this load, over HTTP, and writes docs/reliability.md.

    .venv/bin/python -m benchmarks.overload [FLAG ...]

The fake engine takes a fixed time per token, so the capacity is known: CAPACITY requests a second. Everything else is the real
server. Requests arrive on a fixed schedule (`shortlist bench load --rate`). FLAG is any flag of `shortlist bench load`; the
last value of a flag counts.
"""

from __future__ import annotations

import subprocess
import sys
import time

import uvicorn

from benchmarks.overhead import answers
from benchmarks.peers.vllm.contender import free_port
from shortlist import gc_pause
from shortlist.api.app import create_app
from tests.support.apps import runtime
from tests.support.fake_engine import FakeEngine

CAPACITY = 50
"""Requests a second."""
FACTORS = (0.5, 1, 2, 5, 10)
DOCUMENTS, WORDS = 4, 20
QUERY_WORDS = 12
TOKENS = QUERY_WORDS + DOCUMENTS * (WORDS + 1)
"""Approximate tokens of a `bench load` request, for an encoder that counts words."""
DELAY_MS = 500
"""The server's `max_queue_delay_ms`."""


def serve(port: int) -> None:
    """Serve until the process ends."""
    engine = FakeEngine(token_s=1 / (CAPACITY * TOKENS))
    service = runtime(engine, max_batch_tokens=4 * TOKENS, max_model_len=4 * TOKENS, max_queue_delay_ms=DELAY_MS)
    app = create_app(service)
    gc_pause.resume_and_freeze()
    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def main() -> None:
    """Run the benchmark and write the result."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.overload", "serve", str(port)]
    with subprocess.Popen(command) as server:
        try:
            while not answers(port):
                assert server.poll() is None, "The server did not start."
                time.sleep(0.2)
            rates = [flag for factor in FACTORS for flag in ("--rate", str(factor * CAPACITY))]
            shape = ["--documents", str(DOCUMENTS), "--words", str(WORDS), "--duration", "20"]
            bound = ["--within", str(DELAY_MS / 1000 + 0.1), "--markdown", "docs/reliability.md#overload"]
            load = [sys.executable, "-m", "shortlist", "bench", "load", f"http://127.0.0.1:{port}", *rates, *shape, *bound]
            subprocess.run([*load, *sys.argv[1:]], check=True)
        finally:
            server.terminate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    else:
        main()
