"""Runs `python -m MODULE ARGUMENTS` in a fork of a process that has imported what servers import.

Imports are most of what a start costs. The fork is a process as users have it, which runs the module from its beginning, with
arguments, settings, output, signals and exit code of its own. It is not for starts that are about the interpreter: one with a
variable that libraries may read while they are imported needs a new interpreter, and gets one (`may_fork`).

Started as `python -m tests.support.preloaded DESCRIPTOR`, it takes requests from that socket until the other end closes.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

MODULES: Final = frozenset({"shortlist", "tests.support.fakeserver", "tests.support.few_files"})
"""What a fork may run."""

IMPORTED: Final = (
    "shortlist.server",
    "shortlist.cli.serve",
    "shortlist.engine.sentence",
    "shortlist.engine.native.native_engine",
)
"""What is imported before; without an extra, what the extra installs is left out."""

OWN: Final = ("SHORTLIST_", "PYTEST_", "KMP_", "TORCHINDUCTOR_")
"""Beginnings of the variables that no import reads, and of those that imports of the tests' own process set: scikit-learn's and
PyTorch's, which the fork's imports have set as well."""

ENVIRON: Final = dict(os.environ)  # noqa: TID251 - what its imports read
PACKET_BYTES: Final = 1 << 17
NUM_STREAMS: Final = 3
START_S: Final = 60.0


class Process(Protocol):
    """What tests use of a process; `subprocess.Popen` has it."""

    pid: int
    returncode: int | Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Fork:
    """A process that was forked, with the methods of `subprocess.Popen`; it is another's child."""

    def __init__(self, parent: Preloaded, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._parent = parent

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._parent.exit_code(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once there is one.

        Units: timeout: seconds.

        Raises:
            TimeoutExpired: It runs on.
        """
        until_s = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until_s is not None and time.monotonic() > until_s:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(0.005)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Preloaded:
    """This side of the process that forks, which starts with the first fork and ends with this process."""

    def __init__(self) -> None:
        self._wire: socket.socket | None = None
        self._ended: dict[int, int] = {}
        self._lock = threading.Lock()

    def start(self, module: str, arguments: Sequence[str], environ: Mapping[str, str], streams: Sequence[int]) -> Fork:
        """Fork a process that runs a module, with these descriptors as its input, output and error output."""
        request = {"module": module, "arguments": arguments, "environ": environ, "folder": str(Path.cwd())}
        with self._lock:
            self._wire = self._wire or _started()
            socket.send_fds(self._wire, [json.dumps(request).encode()], streams)
            self._wire.settimeout(START_S)
            while "started" not in (told := self._take(self._wire)):
                pass
        return Fork(self, told["started"])

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a fork, negative for a signal; None while it runs."""
        with self._lock, contextlib.suppress(BlockingIOError):
            assert self._wire is not None
            self._wire.settimeout(0)
            while True:
                self._take(self._wire)
        return self._ended.get(pid)

    def _take(self, wire: socket.socket) -> dict[str, int]:
        packet = wire.recv(PACKET_BYTES)
        assert packet, "the process that forks has ended"
        told: dict[str, int] = json.loads(packet)
        if "ended" in told:
            self._ended[told["ended"]] = told["code"]
        return told


def _started() -> socket.socket:
    """Start the process that forks; return this end of its socket."""
    wire, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with other:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(other.fileno())], pass_fds=[other.fileno()], env=ENVIRON
        )

    def end() -> None:
        wire.close()
        process.wait(timeout=START_S)

    atexit.register(end)
    return wire


preloaded: Final = cache(Preloaded)
"""Returns the one of this session."""


def may_fork(module: str, environ: Mapping[str, str]) -> bool:
    """Return whether a fork that runs a module is like a new interpreter with these variables."""
    other = {name for name, _ in environ.items() ^ ENVIRON.items()}
    return module in MODULES and all(name.startswith(OWN) for name in other)


# -- the process that forks ---------------------------------------------------------------------------------------------


def serve(wire: socket.socket) -> dict[str, Any] | None:
    """Fork for every request, and tell how forks end; return the request in the fork, or None when the other end has closed."""
    running: dict[int, int] = {}
    while True:
        readable, _, _ = select.select([wire.fileno(), *running], [], [])
        for handle in running.keys() & set(readable):
            pid = running.pop(handle)
            os.close(handle)
            _, status = os.waitpid(pid, 0)
            wire.send(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}).encode())
        if wire.fileno() in readable:
            content, streams, _, _ = socket.recv_fds(wire, PACKET_BYTES, NUM_STREAMS)
            if not content:
                return None
            pid = fork()
            if pid == 0:
                for handle in running:
                    os.close(handle)
                return {**json.loads(content), "streams": streams}
            for each in streams:
                os.close(each)
            running[os.pidfd_open(pid)] = pid
            wire.send(json.dumps({"started": pid}).encode())


def fork() -> int:
    """Fork, though libraries have threads that wait for work: each has its own way to survive it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def become(request: dict[str, Any]) -> None:
    """Run the module as `python -m` does."""
    for descriptor, each in enumerate(request["streams"]):
        os.dup2(each, descriptor)
        os.close(each)
    os.environ.clear()  # noqa: TID251
    os.environ.update(request["environ"])  # noqa: TID251
    os.chdir(request["folder"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests without it
    gc.enable()
    sys.argv[1:] = request["arguments"]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, then fork until the other end closes."""
    gc.disable()
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    atexit.register(gc.unfreeze)  # here and in the forks, or extensions would report objects that are left
    with socket.socket(fileno=int(sys.argv[1])) as wire:
        request = serve(wire)
    if request is not None:
        become(request)


if __name__ == "__main__":
    main()
