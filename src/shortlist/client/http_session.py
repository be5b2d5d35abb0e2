"""Sends requests within their time budgets, and retries refused ones; the base of both clients.

Redirects are never followed: a key and a text go to the configured address only.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from types import TracebackType
from typing import Self, TypeVar

import httpx2

from shortlist.client import http_calls
from shortlist.client.errors import RetryPolicy, connection_error
from shortlist.errors import DeadlineExceeded, EngineUnavailable, InvalidInput

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_TIMEOUT_S = 60.0


class Budget:
    """Time budget of one call in seconds, all attempts included."""

    def __init__(self, timeout_s: float) -> None:
        self._until_s = time.monotonic() + timeout_s

    @property
    def remaining_s(self) -> float:
        """Seconds that are left; negative when it is used up."""
        return self._until_s - time.monotonic()

    def up_to(self, limit_s: float) -> Budget:
        """Return the rest of this budget, or `limit_s` if that is less."""
        return Budget(min(limit_s, self.remaining_s))


class HttpSession:
    """State of both clients: URL, key, timeout, retries."""

    def __init__(self, base_url: str, *, api_key: str | None, timeout_s: float, max_retries: int, max_pause_s: float) -> None:
        self.base_url = _root(base_url)
        self._timeout_s = timeout_s
        self._retry_policy = RetryPolicy(max_retries, max_pause_s)
        self._headers = {"accept": "application/json", "user-agent": "shortlist-client"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {_key(api_key)}"

    def _budget(self, timeout_s: float | None) -> Budget:
        return Budget(self._timeout_s if timeout_s is None else timeout_s)

    def _request(self, call: http_calls.HttpCall[T], budget: Budget) -> httpx2.Request:
        remaining_s = budget.remaining_s
        if remaining_s <= 0:
            raise DeadlineExceeded(f"The timeout expired before the request to {self.base_url} was sent.")
        return httpx2.Request(
            call.method,
            self.base_url + call.path,
            headers=self._headers | call.headers,
            content=call.body,
            extensions={"timeout": httpx2.Timeout(remaining_s).as_dict()},
        )

    def _pause_s(self, response: httpx2.Response, num_sent: int, budget: Budget) -> float | None:
        now = dt.datetime.now(dt.UTC)
        return self._retry_policy.pause_s(response, num_sent=num_sent, remaining_s=budget.remaining_s, now=now)

    def _resend_pause_s(self, call: http_calls.HttpCall[T], num_sent: int, budget: Budget) -> float | None:
        if not call.is_repeatable:
            return None
        return self._retry_policy.resend_pause_s(num_sent=num_sent, remaining_s=budget.remaining_s)


class BlockingSession(HttpSession):
    """Sends over a blocking connection pool."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: int = 2,
        max_pause_s: float = 10.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, api_key=api_key, timeout_s=timeout_s, max_retries=max_retries, max_pause_s=max_pause_s)
        self._http = httpx2.Client(transport=transport, follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _call(self, call: http_calls.HttpCall[T], timeout_s: float | None) -> T:
        budget, num_sent = self._budget(timeout_s), 0
        while True:
            num_sent += 1
            try:
                response = self._send(call, budget)
            except EngineUnavailable:
                pause_s = self._resend_pause_s(call, num_sent, budget)
                if pause_s is None:
                    raise
            else:
                pause_s = self._pause_s(response, num_sent, budget)
                if pause_s is None:
                    return call.read(response)
            time.sleep(pause_s)

    def _send(self, call: http_calls.HttpCall[T], budget: Budget) -> httpx2.Response:
        try:
            return self._http.send(self._request(call, budget))
        except httpx2.RequestError as error:
            raise connection_error(error, self.base_url) from error


class AsyncSession(HttpSession):
    """Sends over an asyncio connection pool."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: int = 2,
        max_pause_s: float = 10.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, api_key=api_key, timeout_s=timeout_s, max_retries=max_retries, max_pause_s=max_pause_s)
        self._http = httpx2.AsyncClient(transport=transport, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, call: http_calls.HttpCall[T], timeout_s: float | None) -> T:
        budget, num_sent = self._budget(timeout_s), 0
        while True:
            num_sent += 1
            try:
                response = await self._send(call, budget)
            except EngineUnavailable:
                pause_s = self._resend_pause_s(call, num_sent, budget)
                if pause_s is None:
                    raise
            else:
                pause_s = self._pause_s(response, num_sent, budget)
                if pause_s is None:
                    return call.read(response)
            await asyncio.sleep(pause_s)

    async def _send(self, call: http_calls.HttpCall[T], budget: Budget) -> httpx2.Response:
        request = self._request(call, budget)
        try:
            async with asyncio.timeout(budget.remaining_s):
                return await self._http.send(request)
        except httpx2.RequestError as error:
            raise connection_error(error, self.base_url) from error
        except TimeoutError as error:
            raise DeadlineExceeded(f"The server at {self.base_url} did not answer in time.") from error


def _root(base_url: str) -> str:
    root = base_url.rstrip("/").removesuffix("/v1")
    try:
        url = httpx2.URL(root)
    except httpx2.InvalidURL as error:
        raise InvalidInput("The server's address must be a URL such as http://host:port.", param="base_url") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidInput("The server's address must look like http://host:port.", param="base_url")
    return root


def _key(api_key: str) -> str:
    if not api_key.isascii() or not api_key.isprintable():
        raise InvalidInput("An API key must consist of printable ASCII characters.", param="api_key")
    return api_key
