"""Stands between us and a child: `python guard.py DESCRIPTOR NAME=VALUE... -- COMMAND...`.

Runs the command as the head of a process group of its own, and ends that whole group when the command ends, when it is told
to, or when whoever started it is gone, in whatever way: then the pipe that DESCRIPTOR reads from is closed. A program of its
own, without anything but the standard library, so that it outlives us and weighs nothing.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

GRACE_S = 5.0
"""How long the group may take to end by itself."""

LOOK_S = 0.05


def main(arguments: list[str]) -> int:
    """Run until the command ends, or the pipe does; return the command's status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what ends us is the pipe
    pipe, end = int(arguments[0]), arguments.index("--")
    for pair in arguments[1:end]:
        name, _, value = pair.partition("=")
        os.environ.setdefault(name, value)  # noqa: TID251 - a program of its own; what the person has set wins
    child = subprocess.Popen(  # noqa: S603 - what the person asked for
        arguments[end + 1 :],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_heed_signals,  # noqa: PLW1509 - one thread, no locks
    )
    while child.poll() is None:
        readable, _, _ = select.select([pipe], [], [], LOOK_S)
        if readable:
            break
    _end(child)
    return child.wait()


def _heed_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the group: kindly, then not."""
    deadline_s = time.monotonic() + GRACE_S
    _signal(child.pid, signal.SIGTERM)
    while child.poll() is None and time.monotonic() < deadline_s:
        time.sleep(LOOK_S)
    deadline_s += GRACE_S
    # Those that it started may outlive it. Once dead they may stay listed, where nobody collects the dead.
    while _signal(child.pid, signal.SIGKILL) and time.monotonic() < deadline_s:
        child.poll()
        time.sleep(LOOK_S)


def _signal(group: int, number: signal.Signals) -> bool:
    """Send a signal to a group; return whether there was anybody left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
