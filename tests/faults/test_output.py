"""A full disk under the log, or a closed pipe: the server goes on serving."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx2
import pytest

from tests.support.process import is_ready, wait_until
from tests.support.serving import free_port

ASK = {"query": "red fox", "documents": ["a cat", "the red fox"]}
TROUBLE = {"query": "red fox", "documents": ["#quote", "the red fox"]}
FULL = Path("/dev/full")

needs_dev_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")

Output = int | IO[bytes]


@contextlib.contextmanager
def server(output: Output, *, style: str = "text") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "tests.support.fakeserver",
        "--port",
        str(port),
        "--log-level",
        "debug",
        "--log-format",
        style,
    ]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # noqa: TID251
    process = subprocess.Popen(command, stdout=output, stderr=output, env=environ)
    url = f"http://127.0.0.1:{port}"
    try:
        yield url, process
    finally:
        process.kill()
        process.wait(timeout=10)


def serves(url: str, process: subprocess.Popen[bytes]) -> None:
    """Ask for answers and for log lines with tracebacks, many times over."""
    for _ in range(20):
        assert httpx2.post(f"{url}/v1/rerank", json=TROUBLE).status_code == httpx2.codes.OK
        assert httpx2.post(f"{url}/v1/rerank", json=ASK).status_code == httpx2.codes.OK
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


@needs_dev_full
@pytest.mark.parametrize("style", ["text", "json"])
def test_full_disk_does_not_stop_the_server(style: str) -> None:
    with FULL.open("wb") as full, server(full, style=style) as (url, process):
        wait_until(lambda: process.poll() is not None or is_ready(url), 60)
        assert process.poll() is None
        serves(url, process)


def test_closed_log_pipe_does_not_stop_the_server() -> None:
    reading, writing = os.pipe()
    with server(writing) as (url, process):
        os.close(writing)
        wait_until(lambda: process.poll() is not None or is_ready(url), 60)
        said = os.read(reading, 10_000)
        os.close(reading)
        assert process.poll() is None
        assert b"loading nothing" in said
        serves(url, process)


def test_reader_that_was_never_there_does_not_keep_it_from_starting() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with server(writing) as (url, process):
        os.close(writing)
        wait_until(lambda: process.poll() is not None or is_ready(url), 60)
        assert process.poll() is None
        serves(url, process)


def test_process_without_any_output_serves() -> None:
    port = free_port()
    close = f"import os, sys; os.closerange(0, 3); os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'tests.support.fakeserver', '--port', '{port}'])"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # noqa: TID251
    process = subprocess.Popen([sys.executable, "-c", close], env=environ)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or is_ready(url), 60)
        assert process.poll() is None
        serves(url, process)
    finally:
        process.kill()
        process.wait(timeout=10)
