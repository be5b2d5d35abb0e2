"""Tells systemd what the process does: that it is ready, that it stops, and, for its watchdog, that the event loop runs.

Source: sd_notify(3) and sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"


class Notifier:
    """Sends messages to the service manager; does nothing without one.

    Args:
        environ: The environment, in which systemd names its socket and the watchdog's timeout.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = _watchdog_s(environ) if address else None

    def send(self, message: str) -> None:
        """Send a message; one that cannot be sent is lost, as the server works without it."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.setblocking(False)
            wire.sendto(message.encode(), self._address)

    async def feed_watchdog(self) -> None:
        """Report twice per timeout that the event loop runs; return at once if there is no watchdog."""
        while self._watchdog_s is not None:
            self.send(WATCHDOG)
            await asyncio.sleep(self._watchdog_s / 2)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Return the watchdog's timeout in seconds; None if there is none, or if it is another process's."""
    timeout, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    is_ours = not pid or pid == str(os.getpid())
    return int(timeout) / 1e6 if is_ours and timeout.isdecimal() and int(timeout) else None
