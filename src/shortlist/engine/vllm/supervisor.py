"""Supervises a command: `python supervisor.py DESCRIPTOR NAME=VALUE... -- COMMAND...`.

It leads a process group that the command and its children belong to. It kills the whole group, itself included, when the
command exits, or when the pipe at DESCRIPTOR closes, because the server closed it or exited in any way. It uses only the
standard library: it outlives the server, and is small.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

GRACE_S = 5.0
"""Seconds for the group to exit after SIGTERM."""

LOOK_S = 0.05

HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str]) -> None:
    """Run until the command exits or the pipe closes, then end the whole group."""
    for number in HEEDED:
        signal.signal(number, signal.SIG_IGN)  # only the pipe ends the supervisor
    pipe, end = int(arguments[0]), arguments.index("--")
    for pair in arguments[1:end]:
        name, _, value = pair.partition("=")
        os.environ.setdefault(name, value)  # noqa: TID251 - a separate program; the user's variables override
    child = subprocess.Popen(  # noqa: S603 - the user's command
        arguments[end + 1 :],
        stdin=subprocess.DEVNULL,
        preexec_fn=_heed_signals,  # noqa: PLW1509 - one thread, no locks
    )
    while child.poll() is None and not select.select([pipe], [], [], LOOK_S)[0]:
        pass
    os.killpg(0, signal.SIGTERM)
    deadline_s = time.monotonic() + GRACE_S
    while child.poll() is None and time.monotonic() < deadline_s:
        time.sleep(LOOK_S)
    os.killpg(0, signal.SIGKILL)  # children may outlive the command; this ends the supervisor, too


def _heed_signals() -> None:
    for number in HEEDED:
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    main(sys.argv[1:])
