"""Path rewriting: strips prefixes and repeated versions, and refuses long query strings. Pure ASGI.

`/m/MODEL/...` selects a model, `/compat/DIALECT/...` a dialect, both for any path behind them. A client that appends its own
version to a base URL that has one calls `/v1/v2/rerank`; the last version counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.api.dialects import table
from shortlist.api.request_state import state_of
from shortlist.errors import InvalidInput, UnknownModel

MODEL_PREFIX: Final = "/m/"
DIALECT_PREFIX: Final = "/compat/"

MAX_PREFIXES: Final = 4
"""Most prefixes of one path; behind them, the path is taken as it is."""

MAX_PARAMETERS: Final = 100
"""Most parameters of a query string: the framework parses all of them on the event loop."""

_REPEATED: Final = re.compile(r"^(?:/v\d)+(?=/v\d/)")
"""Source: the cohere package, which appends `/v2/rerank` to any base URL."""


class HeadRequests:
    """ASGI middleware: HEAD is answered as GET; the HTTP server leaves out the body. Source: RFC 9110, 9.3.2.

    Args:
        app: The inner application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self.app(scope, receive, send)


class PathRewriting:
    """ASGI middleware. Sets model and dialect of the path, and the dialect if it is certain.

    Args:
        app: The inner application.
        names: Returns the names of the served models.
        public_prefixes: Path prefixes that are not rewritten.

    Raises:
        UnknownModel, NotFound, InvalidInput: to the outer middleware.
    """

    def __init__(self, app: ASGIApp, *, names: Callable[[], Iterable[str]], public_prefixes: Sequence[str]) -> None:
        self.app = app
        self._names = names
        self._public_prefixes = tuple(public_prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Rewrite the path and pass the request on."""
        if scope["type"] == "http" and scope.get("query_string", b"").count(b"&") >= MAX_PARAMETERS:
            raise InvalidInput(f"The query string has more than {MAX_PARAMETERS} parameters.")
        if scope["type"] == "http" and not scope["path"].startswith(self._public_prefixes):
            rewrite(scope, self._names())
        await self.app(scope, receive, send)


def rewrite(scope: Scope, names: Iterable[str]) -> None:
    """Take the prefixes off the path of a request, and set what they say.

    Raises:
        UnknownModel, NotFound: there is no such model or dialect.
    """
    path, state = normalized(scope["path"]), state_of(scope)
    for _ in range(MAX_PREFIXES):  # any number would take quadratic time
        if path.startswith(MODEL_PREFIX):
            state.model, path = _model(path.removeprefix(MODEL_PREFIX), names)
        elif path.startswith(DIALECT_PREFIX):
            state.explicit_dialect, _, path = path.removeprefix(DIALECT_PREFIX).partition("/")
        else:
            break
        path = normalized(f"/{path.lstrip('/')}")
    scope["path"] = path
    state.dialect = table.only_dialect_of(path, state.explicit_dialect)


def _model(rest: str, names: Iterable[str]) -> tuple[str, str]:
    """Return the model at the start of a path, and the rest; model names may contain slashes."""
    for name in sorted(names, key=len, reverse=True):
        if rest[: len(name)].lower() == name.lower() and rest[len(name) : len(name) + 1] in {"", "/"}:
            return name, rest[len(name) :]
    raise UnknownModel("No such model is served; GET /v1/models lists them.", param="model")


def normalized(path: str) -> str:
    """Return a path without empty segments, repeated versions and a trailing slash."""
    single = re.sub(r"//+", "/", path)
    return _REPEATED.sub("", single).rstrip("/") or "/"
