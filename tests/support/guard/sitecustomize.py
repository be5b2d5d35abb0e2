"""Python imports this by itself when its folder is on PYTHONPATH: no socket of the process gets out of this machine.

Every attempt is refused and noted in the file that GUARD_LOG names. It listens to the interpreter's own audit events, which
no library can go around in Python.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import traceback

LOG = os.environ["GUARD_LOG"]  # noqa: TID251 - this runs before there are settings
CONNECTING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
ASKING = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}


def is_here(host: object) -> bool:
    """Return whether a host is this machine; names but localhost would need a DNS query."""
    text = host.decode() if isinstance(host, bytes) else str(host)
    if text in {"", "None", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(text).is_loopback or ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


def guard(event: str, arguments: tuple[object, ...]) -> None:
    if event in CONNECTING:
        address = arguments[1]
        if not isinstance(address, tuple) or is_here(address[0]):  # a path is a socket on this machine; None is connected
            return
        refuse(event, address)
    elif event in ASKING and not is_here(arguments[0]):
        refuse(event, arguments[0])


def refuse(event: str, whom: object) -> None:
    with open(LOG, "a", encoding="utf-8") as log:  # noqa: PTH123 - as few imports as can be
        log.write(f"{event} {whom!r}\n{''.join(traceback.format_stack()[-12:-2])}\n")
    raise OSError(f"{event} {whom!r} leaves this machine")


sys.addaudithook(guard)
