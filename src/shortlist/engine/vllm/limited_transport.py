"""Limits the responses of servers: a failing one may send anything, without end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import httpx2

MAX_BYTES: Final = 1 << 20
"""Largest response of a request that sets no limit of its own."""

LIMIT: Final = "max_bytes"
"""Name of the request extension with the limit in bytes."""

PLAIN: Final = {"accept-encoding": "identity"}
"""Header of all requests: a compressed response can be a thousand times its size."""


class LimitedTransport(httpx2.BaseTransport):
    """A transport that ends responses that are too large or compressed.

    Args:
        inner: Sends the requests.

    Raises:
        httpx2.RemoteProtocolError: the response breaks the limits.
    """

    def __init__(self, inner: httpx2.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        response = self._inner.handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream), "A sync transport has sync streams."
        response.stream = _Limited(response.stream, _limit_of(request, response))
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class AsyncLimitedTransport(httpx2.AsyncBaseTransport):
    """The same for `httpx2.AsyncClient`; see `LimitedTransport`."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream), "An async transport has async streams."
        response.stream = _AsyncLimited(response.stream, _limit_of(request, response))
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _Limited(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream, limit: int) -> None:
        self._inner, self._limit = inner, limit

    def __iter__(self) -> Iterator[bytes]:
        num_bytes = 0
        for part in self._inner:
            num_bytes = _checked(num_bytes + len(part), self._limit)
            yield part

    def close(self) -> None:
        self._inner.close()


class _AsyncLimited(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, limit: int) -> None:
        self._inner, self._limit = inner, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_bytes = 0
        async for part in self._inner:
            num_bytes = _checked(num_bytes + len(part), self._limit)
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


def _limit_of(request: httpx2.Request, response: httpx2.Response) -> int:
    """Return the most bytes of a response; none of a compressed one is read."""
    limit: Any = request.extensions.get(LIMIT, MAX_BYTES)
    return 0 if response.headers.get("content-encoding", "identity") != "identity" else int(limit)


def _checked(num_bytes: int, limit: int) -> int:
    if num_bytes > limit:
        raise httpx2.RemoteProtocolError("The response is too large or compressed.")
    return num_bytes
