"""A managed `vllm serve` process: starts it, turns its log lines into progress, and ends it with all its children.

A supervisor process (`supervisor.py`) ends it when the server closes it or is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx2

from shortlist.engine.base import Notify
from shortlist.engine.vllm import start_errors, supervisor
from shortlist.engine.vllm.command import is_supported, unsupported
from shortlist.errors import BadSetting, EngineUnavailable, ModelRefused

START_S: Final = 1800.0
"""Timeout of a start in seconds: large models are read from slow disks and compiled."""

LOOK_S: Final = 0.2

_ENDED: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT

CLOSE_S: Final = supervisor.GRACE_S + 5.0

NUM_LINES: Final = 400
"""Log lines kept for error messages."""


class VllmProcess:
    """A managed vLLM process.

    Args:
        command: The executable and its arguments; it must serve `port` on this machine.
        environ: Default environment variables.
        port: Its port.
        notify: Reports start progress.
    """

    def __init__(self, command: Sequence[str], *, environ: Mapping[str, str], port: int, notify: Notify) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.dtype: str | None = None
        self._notify = notify
        self._lines: deque[str] = deque(maxlen=NUM_LINES)
        self._lock = threading.Lock()
        self._is_over = False
        pipe, lifeline = os.pipe()
        self._lifeline: int | None = lifeline
        pairs = [f"{name}={value}" for name, value in environ.items()]
        self._supervisor = subprocess.Popen(  # noqa: S603 - the user's command
            [sys.executable, "-I", supervisor.__file__, str(pipe), *pairs, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[pipe],
            start_new_session=True,
        )
        os.close(pipe)
        self._reader = threading.Thread(target=self._read, name="vllm log", daemon=True)
        self._reader.start()

    @property
    def group(self) -> int:
        """The process group of the process and its children."""
        return self._supervisor.pid

    @property
    def is_running(self) -> bool:
        """Whether it runs. If not, its whole process group is killed first."""
        with self._lock:
            # Without reaping it: its pid stays reserved until then.
            is_there = not self._is_over and os.waitid(os.P_PID, self._supervisor.pid, _ENDED) is None
            if not is_there and not self._is_over:
                self._end_group()
            return is_there

    def wait_until_ready(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Wait until it answers.

        Args:
            is_wanted: Whether the start is still wanted.

        Raises:
            EngineUnavailable: the start was aborted.
            ModelRefused: it exited, or did not answer in time; the message has the reason if the log shows one.
        """
        deadline_s = time.monotonic() + START_S
        with httpx2.Client(trust_env=False, timeout=1.0) as client:
            while time.monotonic() < deadline_s:
                if not self.is_running:
                    raise ModelRefused(self._why_ended())
                if not is_wanted():
                    raise EngineUnavailable("The engine was closed while it started.")
                if _is_up(client, self.url):
                    return
                time.sleep(LOOK_S)
        raise ModelRefused(f"vLLM did not answer within {START_S:.0f} s of its start.")

    def close(self) -> None:
        """End the process and its children. Idempotent."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        deadline_s = time.monotonic() + CLOSE_S
        while self.is_running:
            if time.monotonic() > deadline_s:
                with self._lock:
                    self._end_group()
            time.sleep(LOOK_S / 4)
        self._reader.join(CLOSE_S)

    def _end_group(self) -> None:
        self._is_over = True
        with suppress(ProcessLookupError):
            os.killpg(self._supervisor.pid, signal.SIGKILL)
        self._supervisor.wait()

    def _read(self) -> None:
        assert self._supervisor.stdout is not None, "It was asked for. This is a bug."
        last = None
        with self._supervisor.stdout as lines:
            for line in _decoded(lines):
                self._lines.append(line)
                self.dtype = self.dtype or start_errors.dtype_in(line)
                said = start_errors.progress(line)
                if said and said != last:
                    self._notify(f"vLLM {said}")
                last = said or last

    def _why_ended(self) -> str:
        self._reader.join(LOOK_S)
        lines = list(self._lines)
        why = start_errors.start_error(lines)
        if why is None:
            why = f"Its last words: {_last_error(lines)}"
        return f"vLLM ended while it started. {why}"


def _decoded(lines: Iterable[bytes]) -> Iterable[str]:
    return (line.decode(errors="replace").rstrip() for line in lines)


def _last_error(lines: Sequence[str]) -> str:
    """Return the last log line with an error; before the start completes, logs contain no caller's text."""
    errors = [line for line in lines if "Error" in line or "error:" in line]
    return (errors or list(lines) or ["none"])[-1].strip()[-300:]


def _is_up(client: httpx2.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/health").status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def find_executable(name: str) -> Path:
    """Return the path of `vllm`.

    Raises:
        BadSetting: it is neither on PATH nor at the configured path.
    """
    found = shutil.which(name)
    if found is None:
        raise BadSetting(
            f"There is no executable {name!r} (--vllm-executable). vLLM lives in an environment of its own: python -m venv "
            "vllm-env && vllm-env/bin/pip install vllm, then --vllm-executable vllm-env/bin/vllm."
        )
    return Path(found).absolute()


def version_of(executable: Path) -> str:
    """Return the version of an installed vLLM, such as 0.32.0+cpu.

    Raises:
        BadSetting: the version is unknown or too old.
    """
    version = _quickly(executable) or _slowly(executable)
    if version is None:
        raise BadSetting(f"{executable} (--vllm-executable) does not say its version; it does not look like vLLM.")
    if not is_supported(version):
        raise BadSetting(unsupported(version))
    return version


def _quickly(executable: Path) -> str | None:
    """Read the version with the executable's Python, without importing vLLM."""
    with executable.open("rb") as file:
        first = file.readline(1024).decode(errors="replace").strip()
    interpreter = first.removeprefix("#!") if first.startswith("#!") and "python" in first and " " not in first else None
    if interpreter is None:
        return None
    return _output([interpreter, "-c", "from importlib.metadata import version; print(version('vllm'))"], 30.0)


def _slowly(executable: Path) -> str | None:
    said = _output([str(executable), "--version"], 120.0)
    return said.split()[-1] if said else None


def _output(command: Sequence[str], timeout_s: float) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
