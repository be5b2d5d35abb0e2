"""API key check: open until keys are configured, then closed to requests without a valid key. Pure ASGI.

With keys, every path needs one except a short list for probes. The check uses headers only, before the body is read, and sets
caller and role for the inner middlewares. A key with the role `read` is limited to GET. One with the role `worker` runs
tasks, and does not see jobs, files and batches; `JobLeases` finds the owners of the jobs that it runs.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.api.api_keys import ApiKeys, Role
from shortlist.api.request_state import state_of
from shortlist.errors import CallerError, Forbidden, Unauthenticated

PUBLIC_PATHS = frozenset(
    {"/health", "/ready", "/version", "/ping", "/.well-known/live", "/.well-known/ready", "/v1/cluster/auth"}
)
"""Paths of probes, and of Xinference's client before it sends its key."""

FRONT_DOOR = frozenset({("GET", "/"), ("HEAD", "/")})
"""Paths that only show that a server exists, for GET; a POST here is a task."""
KEY_HEADERS = (b"x-api-key", b"api-key")
"""Headers with a bare key. Source: the SDKs of Azure OpenAI (`api-key`) and LitServe, Anthropic style (`x-api-key`)."""

OWNED_PATHS: Final = re.compile(r"/v1/(?:jobs|files|batches|webhooks)(?:/.*)?", re.DOTALL)
"""Paths of what belongs to owners."""

POLICY_VIOLATION = 1008
"""Close code of refused websockets; the HTTP server turns it into a 403. Source: RFC 6455, 7.4.1."""

UNKNOWN_CALLER = "unknown"
IPV6_NETWORK_BITS = 64
"""Prefix length of the IPv6 network of one household or machine."""


class Auth:
    """ASGI middleware. Sets role and caller: the owner of the key, the client address if no key is needed.

    Args:
        app: The inner application.
        keys: The valid keys.
        public: Paths without a key, besides those of probes.

    Raises:
        Unauthenticated, Forbidden: to the outer middleware.
    """

    def __init__(self, app: ASGIApp, *, keys: ApiKeys, public: Iterable[str] = ()) -> None:
        self.app = app
        self._keys = keys
        self._public = PUBLIC_PATHS.union(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or raise; a websocket is closed instead."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
        except CallerError:
            if scope["type"] != "websocket":
                raise
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        state = state_of(scope)
        key = self._keys.find(list(_sent(dict(scope["headers"]))))
        if key is None and self._keys.are_needed and not self._is_public(scope):
            raise Unauthenticated("The API key is missing or wrong. Send it as `Authorization: Bearer KEY`.")
        state.caller, state.role = (key.owner, key.role) if key else (_address(scope), Role.WRITE)
        if state.role is Role.READ and scope.get("method") != "GET":
            raise Forbidden("This API key may only read: its role is `read`.")
        if state.role is Role.WORKER and OWNED_PATHS.fullmatch(scope["path"]):
            raise Forbidden("This API key may only run tasks: its role is `worker`.")

    def _is_public(self, scope: Scope) -> bool:
        return scope["path"] in self._public or (scope.get("method"), scope["path"]) in FRONT_DOOR


def _sent(headers: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield every key of the request, from all header forms."""
    authorization = headers.get(b"authorization", b"").strip()
    scheme, _, rest = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        yield rest.strip()
    elif scheme.lower() == b"basic":
        yield _password(rest)  # sent by browsers, for the page
    elif authorization:
        yield authorization
    yield from (headers[name] for name in KEY_HEADERS if name in headers)


def _password(credentials: bytes) -> bytes:
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _address(scope: Scope) -> str:
    """Return the client address; for IPv6 its network, in which a client can have any number of addresses."""
    host = (scope.get("client") or (UNKNOWN_CALLER, 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))
    return str(address)
