"""Requests through a reverse proxy: the caller's address, scheme and host, and the path prefix of the server. Pure ASGI.

`ProxyHeaders` runs before every rule about hosts, sites and callers, and takes the prefix off the path. `RootPath` runs after
them and puts it back for the router, from which redirects and links of the page and of /docs derive theirs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.api.request_state import state_of
from shortlist.errors import InvalidInput
from shortlist.setting_types import Network, is_root_path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

FOR: Final = b"x-forwarded-for"
PROTO: Final = b"x-forwarded-proto"
HOST: Final = b"x-forwarded-host"
PREFIX: Final = b"x-forwarded-prefix"

REMOVED: Final = (b"x-forwarded-", b"x-gradio-server")
"""Beginnings of headers that the page's framework believes from any caller. Source: Gradio 6, `route_utils`."""

HOST_VALUE: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
ADDRESS_WITH_PORT: Final = re.compile(r"\[([^\]]+)\](?::\d{1,5})?|([\d.]+):\d{1,5}")
"""Both forms in which proxies write a port behind an address."""


class ProxyHeaders:
    """ASGI middleware. Applies the X-Forwarded headers of trusted proxies, and removes all of them.

    Of a header with several values, the last one counts: the trusted proxy wrote it. For `X-Forwarded-For`, that is the last
    address that is not itself a trusted proxy's.

    Args:
        app: The inner application.
        trusted: Networks of the proxies that are believed; none by default.
        root_path: Path prefix of the server at its proxy. Paths may come with or without it.

    Raises:
        InvalidInput: a trusted proxy sent an invalid scheme, host or prefix; `param` names the header.
    """

    def __init__(self, app: ASGIApp, *, trusted: Sequence[Network] = (), root_path: str = "") -> None:
        self.app = app
        self._trusted = tuple(trusted)
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as the proxy received it, or raise."""
        if scope["type"] == "http":
            sent = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name.startswith(REMOVED)]
            if sent:
                scope["headers"] = [pair for pair in scope["headers"] if not pair[0].startswith(REMOVED)]
            is_removed = bool(sent) and self._is_trusted(_peer(scope)) and self._apply(scope, sent)
            if not is_removed and self._root_path:
                state_of(scope).root_path = self._root_path
                scope["path"] = without_prefix(scope["path"], self._root_path)
        await self.app(scope, receive, send)

    def _apply(self, scope: Scope, sent: Sequence[tuple[bytes, str]]) -> bool:
        """Apply the headers; return whether the proxy says that it removed a prefix from the path."""
        caller = self._caller([value for name, value in sent if name == FOR])
        if caller is not None:
            scope["client"] = (str(caller), 0)
        if proto := _last(sent, PROTO).lower():
            if proto not in {"http", "https"}:
                raise InvalidInput("The header X-Forwarded-Proto must be http or https.", param="X-Forwarded-Proto")
            scope["scheme"] = proto
        if host := _last(sent, HOST):
            if not HOST_VALUE.fullmatch(host):
                raise InvalidInput("The header X-Forwarded-Host must be a host name or HOST:PORT.", param="X-Forwarded-Host")
            scope["headers"] = [(b"host", host.encode()), *(pair for pair in scope["headers"] if pair[0] != b"host")]
        prefix = _last(sent, PREFIX).rstrip("/")
        if prefix and not is_root_path(prefix):
            raise InvalidInput("The header X-Forwarded-Prefix must be a path such as /shortlist.", param="X-Forwarded-Prefix")
        state_of(scope).root_path = prefix
        return bool(prefix)

    def _caller(self, values: Iterable[str]) -> Address | None:
        """Return the last address that is not trusted, or else the first one; addresses before an invalid one do not count."""
        caller = None
        for text in reversed(",".join(values).split(",")):
            address = parse_address(text.strip())
            if address is None:
                break
            caller = address
            if not self._is_trusted(address):
                break
        return caller

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


class RootPath:
    """ASGI middleware. Puts the prefix in front of the path, as ASGI requires it.

    Args:
        app: The router.

    Source: ASGI, HTTP connection scope, `path` and `root_path`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and (root_path := state_of(scope).root_path):
            scope["root_path"], scope["path"] = root_path, root_path + scope["path"]
        await self.app(scope, receive, send)


def without_prefix(path: str, prefix: str) -> str:
    """Return a path without its prefix, if it has it; prefixes end where a segment ends."""
    rest = path.removeprefix(prefix)
    return (rest or "/") if path.startswith(prefix) and rest[:1] in {"", "/"} else path


def parse_address(text: str) -> Address | None:
    """Return the address, without a port and as IPv4 if it is mapped; None if it is invalid or has a zone."""
    if found := ADDRESS_WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        address = ipaddress.ip_address(text) if "%" not in text else None
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _peer(scope: Scope) -> Address | None:
    client = scope.get("client")
    return parse_address(client[0]) if client else None


def _last(sent: Iterable[tuple[bytes, str]], name: bytes) -> str:
    """Return the last value of a header; empty without one."""
    return ",".join(value for each, value in sent if each == name).rpartition(",")[2].strip()
