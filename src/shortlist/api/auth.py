"""Who may speak to the server: everybody until keys are configured, then only those who send one. Pure ASGI.

Closed by default: with keys configured, every path needs one except a fixed short list for probes. Keys are compared by
digest and in constant time. Decides on headers alone, before a byte of the body is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.errors import Unauthenticated

PUBLIC_PATHS = frozenset({"/health", "/ready", "/version"})
KEY_HEADERS = (b"x-api-key", b"api-key")
"""Where clients put a bare key. Source: the SDKs of Azure OpenAI (`api-key`) and LitServe, Anthropic style (`x-api-key`)."""


class Auth:
    """ASGI middleware.

    Args:
        app: What handles the request.
        keys: Every key that is valid now; none means that everybody may come in.

    Raises:
        Unauthenticated: to whatever is outside.
    """

    def __init__(self, app: ASGIApp, *, keys: Sequence[str]) -> None:
        self.app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or raise."""
        if self._digests and scope["type"] != "lifespan" and scope["path"] not in PUBLIC_PATHS:
            self._check(dict(scope["headers"]))
        await self.app(scope, receive, send)

    def _check(self, headers: Mapping[bytes, bytes]) -> None:
        sent = [_digest(key) for key in _keys(headers)]
        # Every pair is compared, so that the time tells nothing.
        matches = [hmac.compare_digest(one, valid) for one in sent for valid in self._digests]
        if not any(matches):
            raise Unauthenticated("The API key is missing or wrong. Send it as `Authorization: Bearer KEY`.")


def _keys(headers: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """Yield every key that the request carries, whichever way its client spells it."""
    authorization = headers.get(b"authorization", b"").strip()
    scheme, _, rest = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        yield rest.strip()
    elif scheme.lower() == b"basic":
        yield _password(rest)  # how a browser sends it, for the page
    elif authorization:
        yield authorization
    yield from (headers[name] for name in KEY_HEADERS if name in headers)


def _password(credentials: bytes) -> bytes:
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
