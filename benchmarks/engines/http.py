"""An HTTP server as a contender: `python -m benchmarks.engines.http MODEL [--server COMMAND] [--threads N]`.

Starts the server on a free local port and waits until it is ready. Sends every request to `POST /v1/rerank` over keep-alive
connections: one, or more for concurrent requests. The default command starts Shortlist's server.
"""

from __future__ import annotations

import argparse
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import httpx2
import orjson

from benchmarks.engines.memory import CPU
from benchmarks.engines.protocol import AT_ONCE, Answer, Ready, serve_lines, use_threads
from benchmarks.engines.spec import batch_tokens_for
from shortlist.bench.texts import LoadRequest
from shortlist.config import ModelSettings
from shortlist.errors import UpstreamError

OURS: Final = (
    f"{shlex.quote(sys.executable)} -m shortlist serve --reranker {{model}} --port {{port}} --dtype {{dtype}} "
    "--device {device} --max-model-len {max_model_len} --max-batch-tokens {max_batch_tokens} "
    "--cache-bytes 0 --self-test off --no-ui"
)
NAMES: Final = "{model}, {port}, {dtype}, {device}, {max_model_len} and {max_batch_tokens}"
START_S: Final = 600.0
STOP_S: Final = 30.0
POLL_S: Final = 0.1
"""Poll interval while a server starts; polling ends once it is ready."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer requests until the input ends; return the exit code."""
    given = _parser().parse_args(arguments)
    use_threads(given.threads)
    return serve_lines(_opened(given))


@contextmanager
def _opened(given: argparse.Namespace) -> Iterator[tuple[Ready, Answer]]:
    port = _free_port()
    values = {
        "{model}": given.model,
        "{port}": str(port),
        "{dtype}": given.dtype,
        "{device}": given.device,
        "{max_model_len}": str(given.max_model_len),
        "{max_batch_tokens}": str(batch_tokens_for(given.max_model_len)),
    }
    url = f"http://127.0.0.1:{port}"
    # An explicit transport, because the default one sends requests through a proxy from the environment.
    client = httpx2.Client(base_url=url, timeout=None, transport=httpx2.HTTPTransport())
    with _running(_filled(given.server, values)) as server, client:
        _wait_ready(server, client)
        version = _version(client)
        yield (
            Ready(name=given.name, version=f"{given.name} {version}".strip(), dtype=given.dtype, at_once=AT_ONCE),
            lambda request: _ask(client, request),
        )


@contextmanager
def _running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        # The server's output goes to the log, because stdout is for answers.
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    except OSError as error:
        raise UpstreamError(f"{command[0]}: {error.strerror}", is_retryable=False) from None
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_ready(server: subprocess.Popen[bytes], client: httpx2.Client) -> None:
    until_s = time.monotonic() + START_S
    while not _is_ready(client):
        if server.poll() is not None:
            raise UpstreamError(f"The server exited with code {server.returncode} before it was ready.", is_retryable=False)
        if time.monotonic() > until_s:
            raise UpstreamError(f"The server was not ready after {START_S:.0f} s.", is_retryable=False)
        time.sleep(POLL_S)


def _is_ready(client: httpx2.Client) -> bool:
    """Return whether `/ready` answers 200, or `/health` on servers without `/ready`."""
    try:
        status = client.get("/ready").status_code
        if status == httpx2.codes.NOT_FOUND:
            status = client.get("/health").status_code
    except httpx2.TransportError:
        return False
    return status == httpx2.codes.OK


def _version(client: httpx2.Client) -> str:
    """Return the version that the server reports, or an empty string."""
    answer = client.get("/version")
    try:
        return str(orjson.loads(answer.content)["version"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _ask(client: httpx2.Client, request: LoadRequest) -> list[float]:
    body = orjson.dumps({"query": request.query, "documents": request.documents, "return_documents": False})
    try:
        answer = client.post("/v1/rerank", content=body, headers={"content-type": "application/json"})
    except httpx2.TransportError as error:
        raise UpstreamError(f"The server cannot be reached: {error}", is_retryable=False) from None
    if answer.status_code != httpx2.codes.OK:
        raise UpstreamError(f"The server answered with status {answer.status_code}: {answer.text[:200]}", is_retryable=False)
    scores: Mapping[int, float] = {each["index"]: each["relevance_score"] for each in orjson.loads(answer.content)["results"]}
    if len(scores) != len(request.documents):
        raise UpstreamError(f"The server scored {len(scores)} of {len(request.documents)} documents.", is_retryable=False)
    return [scores[index] for index in range(len(scores))]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _filled(command: str, values: Mapping[str, str]) -> list[str]:
    """Split a command as a shell does, then fill in the names in braces; their values are not split or escaped."""
    filled = shlex.split(command)
    for name, value in values.items():
        filled = [part.replace(name, value) for part in filled]
    return filled


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines.http", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL", help="Value of {model} in the command.")
    parser.add_argument("--server", default=OURS, help=f"Command of the server, with {NAMES}.")
    parser.add_argument("--name", default="shortlist-http", help="Name in the report.")
    parser.add_argument("--dtype", default="auto", help="Value of {dtype}, and the reported dtype.")
    parser.add_argument("--device", default=CPU, help="Value of {device}.")
    parser.add_argument("--max-model-len", type=int, default=ModelSettings().max_model_len, help="Value of {max_model_len}.")
    parser.add_argument("--threads", type=int, help="Number of compute threads, set in the variables of OpenMP and Rayon.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
