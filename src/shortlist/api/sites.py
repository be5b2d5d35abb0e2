"""Refuses requests for other hosts and of pages of other sites. Pure ASGI.

A page that a user visits can send requests to a server on the user's machine. Without keys, nothing else protects it: a form
needs no permission to send, and a host name that is made to point to this machine also lets the page read the answer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.config import ServerSettings
from shortlist.errors import Forbidden, Misdirected

ANY: Final = "*"

PLAIN: Final = "<plain>"
"""Names without a dot, of machines and containers: a site on the internet has none."""

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing: links of other sites use them, and browsers keep the answers from their pages."""


class Sites:
    """ASGI middleware.

    Args:
        app: The inner application.
        hosts: Host names that requests may be for, without ports; `ANY` and `PLAIN` stand for many.
        origins: Origins whose pages may send requests; `*` is any.

    Raises:
        Misdirected: the request is for another host.
        Forbidden: a page of another site sent it.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self.app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or raise."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            self._check_host(headers.get(b"host", b"").decode("latin-1"))
            if scope["method"] not in READING and ANY not in self._origins:
                self._check_site(headers)
        await self.app(scope, receive, send)

    def _check_host(self, host: str) -> None:
        name = without_port(host)
        is_plain = PLAIN in self._hosts and not {".", ":"}.intersection(name)
        if not host or ANY in self._hosts or name in self._hosts or is_plain:  # browsers always send one
            return
        raise Misdirected("This server does not answer to this host name. Start it with --allowed-host NAME for it.")

    def _check_site(self, headers: dict[bytes, bytes]) -> None:
        origin = headers.get(b"origin", b"").decode("latin-1")
        site = headers.get(b"sec-fetch-site")  # of the browser; right behind proxies that change the host, too
        if site is not None:
            is_own = site in {b"same-origin", b"none"}
        else:
            host = headers.get(b"host", b"").decode("latin-1")
            is_own = not origin or origin.partition("://")[2].lower() == host.lower()
        if not is_own and origin not in self._origins:
            raise Forbidden("Pages of other sites may not send requests. Start the server with --cors-origin for this one.")


def allowed_hosts(settings: ServerSettings, *, has_keys: bool) -> tuple[str, ...]:
    """Return the host names that requests may be for; any, unless the server is open and on this machine only."""
    if settings.allowed_host:  # the page itself calls this server as localhost
        return (*LOOPBACK_NAMES, *(without_port(name) for name in settings.allowed_host))
    if has_keys or not is_loopback(settings.host):
        return (ANY,)
    bound = f"[{settings.host}]" if ":" in settings.host else settings.host
    return (*LOOPBACK_NAMES, bound, PLAIN)


def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def without_port(host: str) -> str:
    """Return a host name in lower case without its port; addresses of IPv6 keep their brackets."""
    name, _, port = host.lower().rpartition(":")
    return name if name and (port.isdigit() or not port) and not host.endswith("]") else host.lower()
