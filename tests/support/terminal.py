"""A command at a terminal: what a person sees, and the keys that they press."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CTRL_C = b"\x03"
CTRL_D = b"\x04"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

_IN_FRONT = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""Makes standard input the terminal that controls the process, so that Ctrl-C reaches it."""


class Terminal:
    """A terminal of 100 columns with one process in the foreground."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._seen = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._descriptor, keys)

    @property
    def screen(self) -> str:
        """Everything that was shown so far, without colours and movements."""
        return _CONTROL.sub("", self._seen.decode(errors="replace")).replace("\r\n", "\n")

    def end(self) -> int:
        """Wait for the process, and return its exit code."""
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return code

    def _read(self) -> None:
        try:
            while part := os.read(self._descriptor, 65536):
                self._seen += part
        except OSError:  # the other end of the terminal is closed
            return


@contextmanager
def terminal(*arguments: str, **environ: str) -> Iterator[Terminal]:
    """Run `python -m shortlist ARGUMENTS` at a terminal of its own."""
    own, theirs = pty.openpty()
    command = [sys.executable, "-c", _IN_FRONT, sys.executable, "-m", "shortlist", *arguments]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **environ}  # noqa: TID251
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    try:
        yield Terminal(process, own)
    finally:
        process.kill()
        process.wait(timeout=10)
        os.close(own)
