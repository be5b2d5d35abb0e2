"""Sends one request to one server and classifies the result. Every failure is an `Outcome`, never an exception."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import aiohttp
import orjson

from shortlist.bench.samples import Fate, Outcome, fate_of
from shortlist.bench.target import Target
from shortlist.bench.texts import LoadRequest
from shortlist.errors import UpstreamError

MAX_IDLE_S: Final = 2.0
"""Connections idle for longer are not reused: servers close idle connections after a few seconds. A close that
races with the next request would look like a lost answer."""

MAX_WHY_CHARS: Final = 160
NOT_HTTP: Final = "what came back is not HTTP"
_NO_SOCKET: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL})


class LoadClient:
    """Async context manager that sends requests to one server, with one connection per request in flight.

    It does not ask again by itself, follow redirects, ask for compression, keep cookies or go through a proxy.

    Args:
        target: The server.
        timeout_s: How long an answer may take before it counts as lost.
    """

    def __init__(self, target: Target, timeout_s: float) -> None:
        self.target = target
        self._timeout_s = timeout_s
        key = {"Authorization": f"Bearer {target.api_key}"} if target.api_key else {}
        tls = ssl.create_default_context() if target.address.startswith("https:") else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=MAX_IDLE_S, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "shortlist-bench", "Accept": "application/json", "Content-Type": "application/json", **key},
            skip_auto_headers=("Accept-Encoding",),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the timeout here runs from when a request was due
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, request: LoadRequest, due_s: float | None = None) -> Outcome:
        """Send a request and return its outcome.

        Args:
            request: What to ask.
            due_s: When it should have been sent, by `time.perf_counter`; now, if that is not given.
        """
        left_s = self._timeout_s if due_s is None else due_s + self._timeout_s - time.perf_counter()
        body = self.target.dialect.write(request, self.target.model)
        try:
            async with (
                asyncio.timeout(max(left_s, 0.0)),
                self._session.post(self.target.url, data=body, allow_redirects=False) as response,
            ):
                if response.status < HTTPStatus.OK:  # an unrequested protocol upgrade
                    return Outcome(fate=Fate.CUT, at_s=time.perf_counter(), why=NOT_HTTP)
                answer = await response.read()
                at_s = time.perf_counter()
        except TimeoutError:
            return Outcome(fate=Fate.LOST, at_s=time.perf_counter(), why=f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return _cut(error)
        return self._judged(response, answer, at_s, len(request.documents))

    def _judged(self, response: aiohttp.ClientResponse, answer: bytes, at_s: float, num_documents: int) -> Outcome:
        fate, why, numbers = fate_of(response.status), "", None
        if fate is Fate.OK:
            try:
                numbers = self.target.dialect.read(answer, num_documents)
            except UpstreamError as error:
                fate, why = Fate.WRONG, error.message
        else:
            why = f"{response.status} {said(answer)}".strip()
        retry_after = response.headers.get("Retry-After")
        return Outcome(fate=fate, at_s=at_s, status=response.status, retry_after=retry_after, numbers=numbers, why=why)


def _cut(error: aiohttp.ClientError | OSError) -> Outcome:
    fate, why = Fate.CUT, "the connection ended before the answer did"
    if isinstance(error, aiohttp.ClientResponseError):
        why = NOT_HTTP
    elif isinstance(error, aiohttp.ClientConnectorError):
        fate = Fate.UNSENT if error.errno in _NO_SOCKET else Fate.CUT
        why = _short(error.strerror or str(error))
    return Outcome(fate=fate, at_s=time.perf_counter(), why=why)


def said(body: bytes) -> str:
    """Return the error message in a response body, from the first usual field that has one."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _short(body.decode(errors="replace"))
    return _short(next(_messages(answer), ""))


def _messages(answer: object) -> Iterator[str]:
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, Mapping):
        for key in ("error", "message", "detail"):
            yield from _messages(answer.get(key))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_WHY_CHARS else f"{line[:MAX_WHY_CHARS]} ..."
