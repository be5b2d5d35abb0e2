"""Servers with a fake engine, whose supervisor starts them again, and a record of every text that they begin to compute.

python -m tests.support.recorder FOLDER PORT[,PORT...] [--SETTING VALUE ...]

The supervisor imports everything once and forks: a killed server is back in a moment. In FOLDER, `PORT.pid` has the process
of a server, and `computed` has a line per text. While `hold` exists, batches wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shortlist.types import Batch, TextPrompt
from tests.support import fakeserver
from tests.support.fake_engine import FakeEngine
from tests.support.process import START_S, is_ready, wait_until
from tests.support.serving import free_port

STEP_S = 0.01
"""Duration of a batch: long enough that a kill meets some of them."""


class RecordingEngine(FakeEngine):
    """Appends every text to a file before it is computed."""

    def __init__(self, folder: Path, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._folder = folder

    async def _pretend(self, batch: Batch) -> None:
        lines = [f"{item.prompt.text}\n" for item in batch.items if isinstance(item.prompt, TextPrompt)]
        with (self._folder / "computed").open("a", encoding="utf-8") as file:
            file.write("".join(lines))
        while (self._folder / "hold").exists():  # noqa: ASYNC110 - another process removes it
            await asyncio.sleep(0.01)
        await super()._pretend(batch)


@dataclass(frozen=True)
class RecordedServers:
    """Servers that run, and what they computed."""

    folder: Path
    ports: tuple[int, ...]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def computed(self) -> Counter[str]:
        """Return how often every text was computed."""
        file = self.folder / "computed"
        return Counter(file.read_text(encoding="utf-8").splitlines()) if file.exists() else Counter()

    def kill(self, port: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a server a signal that ends it; its supervisor starts it again. Return when it is ready."""
        file = self.folder / f"{port}.pid"
        before = file.read_text()
        os.kill(int(before), number)
        wait_until(lambda: file.exists() and file.read_text() not in {"", before}, START_S)
        wait_until(lambda: is_ready(f"http://127.0.0.1:{port}"), START_S)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let all batches wait."""
        (self.folder / "hold").touch()
        try:
            yield
        finally:
            (self.folder / "hold").unlink()


@contextlib.contextmanager
def recorded_servers(folder: Path, *flags: str, count: int = 2) -> Iterator[RecordedServers]:
    """Run servers with these settings for as long as a test needs them."""
    servers = RecordedServers(folder, tuple(free_port() for _ in range(count)))
    command = [sys.executable, "-m", "tests.support.recorder", str(folder), ",".join(map(str, servers.ports)), *flags]
    with (folder / "servers.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        for url in servers.urls:
            wait_until(lambda url=url: process.poll() is not None or is_ready(url), START_S)  # type: ignore[misc]
            assert process.poll() is None, (folder / "servers.log").read_text()
        yield servers
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


def main(arguments: Sequence[str]) -> None:
    """Start a server at every port, and again when it ends."""
    folder, ports, *flags = arguments
    vars(fakeserver)["FakeEngine"] = partial(RecordingEngine, Path(folder))
    port_of = {_fork(Path(folder), port, flags): port for port in ports.split(",")}
    while True:
        ended, _ = os.wait()
        port = port_of.pop(ended)
        port_of[_fork(Path(folder), port, flags)] = port


def _fork(folder: Path, port: str, flags: Sequence[str]) -> int:
    process = os.fork()
    if process == 0:
        os._exit(fakeserver.main(["--step-s", str(STEP_S), *flags, "--port", port]))
    (folder / f"{port}.pid").write_text(str(process))
    return process


if __name__ == "__main__":
    main(sys.argv[1:])
