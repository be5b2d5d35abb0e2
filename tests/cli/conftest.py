"""Runs commands as processes, and one server with a fake engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.process import launched

Done = subprocess.CompletedProcess[str]
Shortlist = Callable[..., Done]


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Restore SIGINT: a shell that runs the tests in the background ignores it, and child processes inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with launched("tests.support.fakeserver") as server:
        yield server.url


@pytest.fixture(scope="session")
def shortlist() -> Shortlist:
    """Run `shortlist ARGUMENTS` until it exits."""

    def run(*arguments: object, stdin: str = "", **environ: str) -> Done:
        command = [sys.executable, "-m", "shortlist", *map(str, arguments)]
        env = {**os.environ, **environ}  # noqa: TID251
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=100, check=False, env=env)

    return run
