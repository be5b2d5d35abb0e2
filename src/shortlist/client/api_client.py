"""The blocking and the asyncio client. `http_calls` builds and parses; this module sends, waits and retries.

Redirects are never followed: a key and a text go to the configured address only.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Sequence
from contextlib import aclosing, closing
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import httpx2

from shortlist.client import http_calls
from shortlist.client.errors import RetryPolicy, connection_error
from shortlist.client.progress import Bar, total_of
from shortlist.client.results import Embeddings, ModelEntry, RankEntry, Ranking, Reranked, RerankRequest
from shortlist.client.stream import blocking_stream, stream
from shortlist.errors import DeadlineExceeded, EngineUnavailable, InvalidInput, ServiceError

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 5.0
"""Timeout of a readiness check in seconds."""
STREAM_TITLE = "reranking"


class _Budget:
    """The seconds one call may take, all its attempts together."""

    def __init__(self, timeout_s: float) -> None:
        self._until_s = time.monotonic() + timeout_s

    @property
    def remaining_s(self) -> float:
        return self._until_s - time.monotonic()


class _Session:
    """State of both clients: URL, key, timeout, retries."""

    def __init__(self, base_url: str, *, api_key: str | None, timeout_s: float, max_retries: int, max_pause_s: float) -> None:
        self.base_url = _root(base_url)
        self._timeout_s = timeout_s
        self._retry_policy = RetryPolicy(max_retries, max_pause_s)
        self._headers = {"accept": "application/json", "user-agent": "shortlist-client"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {_key(api_key)}"

    def _budget(self, timeout_s: float | None) -> _Budget:
        return _Budget(self._timeout_s if timeout_s is None else timeout_s)

    def _request(self, call: http_calls.HttpCall[T], budget: _Budget) -> httpx2.Request:
        remaining_s = budget.remaining_s
        if remaining_s <= 0:
            raise DeadlineExceeded(f"No time was left to ask the server at {self.base_url}.")
        return httpx2.Request(
            call.method,
            self.base_url + call.path,
            headers=self._headers | call.headers,
            content=call.body,
            extensions={"timeout": httpx2.Timeout(remaining_s).as_dict()},
        )

    def _pause_s(self, response: httpx2.Response, num_sent: int, budget: _Budget) -> float | None:
        now = dt.datetime.now(dt.UTC)
        return self._retry_policy.pause_s(response, num_sent=num_sent, remaining_s=budget.remaining_s, now=now)


class Client(_Session):
    """Talks to a Shortlist server and waits for it. Safe to share between threads; close it, or use it in a `with`.

    Args:
        base_url: The server's address. A trailing `/v1`, as other clients want it, is fine.
        api_key: Sent as a bearer token; None sends none.
        timeout_s: Seconds one call may take, retries included, unless the call says otherwise.
        max_retries: How often a call refused with 429 or 503 is sent again.
        max_pause_s: The longest wait before one retry.
        transport: Sends the requests instead of a socket; for tests.
    """

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

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        model: str | None = None,
        instruction: str | None = None,
        top_n: int | None = None,
        return_documents: bool = True,
        timeout_s: float | None = None,
    ) -> Ranking:
        """Return the documents, most relevant to the query first.

        Args:
            query: What is searched for.
            documents: The candidates.
            model: Name or alias; None means the server's default reranker.
            instruction: What counts as relevant, in words; None means the model's own default.
            top_n: How many results to return; None means all.
            return_documents: Whether results carry their text.
            timeout_s: Seconds this call may take, retries included; None means the client's own.

        Raises:
            ServiceError: the error the server answered with, or `EngineUnavailable` when none answered.
        """
        asked = partial(RerankRequest, query=query, documents=documents, model=model, instruction=instruction)
        return self._ask(http_calls.rerank_call(asked(top_n=top_n, return_documents=return_documents)), timeout_s)

    def rerank_many(
        self,
        requests: Iterable[RerankRequest],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        progress: bool = False,
        timeout_s: float | None = None,
    ) -> Generator[Reranked, None, None]:
        """Yield what became of each of many requests; one that fails does not end the others.

        A request is taken from the source only when it can be sent, so `requests` may be endless.

        Args:
            requests: The questions.
            concurrency: How many are on their way at once, and how many answers wait for the caller at most.
            ordered: Whether answers come in the order of the requests, or as they are ready.
            progress: Whether to show a progress bar on standard error, if that is a terminal.
            timeout_s: Seconds each call may take, retries included; None means the client's own.

        Raises:
            InvalidInput: `concurrency` is not at least 1.
        """

        def ask(request: RerankRequest) -> Ranking | ServiceError:
            try:
                return self._ask(http_calls.rerank_call(request), timeout_s)
            except ServiceError as error:
                return error

        answers = blocking_stream(ask, requests, concurrency=concurrency, ordered=ordered)
        with closing(answers), Bar(STREAM_TITLE, total_of(requests), is_wanted=progress) as bar:
            for answered in answers:
                bar.advance()
                yield Reranked(*answered)

    def rank(
        self, query: str, documents: Sequence[str], top_k: int | None = None, return_documents: bool = False
    ) -> list[RankEntry]:
        """Return the ranking as sentence-transformers' `CrossEncoder.rank` would: dicts of `corpus_id`, `score`, `text`.

        Source: sentence-transformers 6.2, `CrossEncoder.rank`, whose other arguments say how its own process computes.
        """
        return http_calls.rank_entries(self.rerank(query, documents, top_n=top_k, return_documents=return_documents))

    def embed(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        is_query: bool = False,
        instruction: str | None = None,
        dimensions: int | None = None,
        timeout_s: float | None = None,
    ) -> Embeddings:
        """Return one vector per text.

        Args:
            texts: What to embed.
            model: Name or alias; None means the server's default embedder.
            is_query: Whether the texts are queries, for which some models have another template.
            instruction: The instruction for queries.
            dimensions: Cut vectors to this many dimensions; None means the model's own width.
            timeout_s: Seconds this call may take, retries included; None means the client's own.

        Raises:
            ServiceError: the error the server answered with, or `EngineUnavailable` when none answered.
        """
        call = http_calls.embed_call(texts, model=model, is_query=is_query, instruction=instruction, dimensions=dimensions)
        return self._ask(call, timeout_s)

    def models(self) -> list[ModelEntry]:
        """Return the models the server offers."""
        return self._ask(http_calls.models_call(), None)

    def is_ready(self) -> bool:
        """Return whether the server is there and takes work."""
        try:
            return http_calls.ready_call().read(self._send(http_calls.ready_call(), _Budget(READY_TIMEOUT_S)))
        except (EngineUnavailable, DeadlineExceeded):
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, call: http_calls.HttpCall[T], timeout_s: float | None) -> T:
        budget, num_sent = self._budget(timeout_s), 0
        while True:
            response, num_sent = self._send(call, budget), num_sent + 1
            pause_s = self._pause_s(response, num_sent, budget)
            if pause_s is None:
                return call.read(response)
            time.sleep(pause_s)

    def _send(self, call: http_calls.HttpCall[T], budget: _Budget) -> httpx2.Response:
        try:
            return self._http.send(self._request(call, budget))
        except httpx2.RequestError as error:
            raise connection_error(error, self.base_url) from error


class AsyncClient(_Session):
    """`Client` for asyncio: the same methods, awaited. Close it, or use it in an `async with`.

    Args:
        base_url: The server's address. A trailing `/v1`, as other clients want it, is fine.
        api_key: Sent as a bearer token; None sends none.
        timeout_s: Seconds one call may take, retries included, unless the call says otherwise.
        max_retries: How often a call refused with 429 or 503 is sent again.
        max_pause_s: The longest wait before one retry.
        transport: Sends the requests instead of a socket; `httpx2.ASGITransport(app)` calls an app in this process.
    """

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

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        model: str | None = None,
        instruction: str | None = None,
        top_n: int | None = None,
        return_documents: bool = True,
        timeout_s: float | None = None,
    ) -> Ranking:
        """Return the documents, most relevant to the query first. As `Client.rerank`."""
        asked = partial(RerankRequest, query=query, documents=documents, model=model, instruction=instruction)
        return await self._ask(http_calls.rerank_call(asked(top_n=top_n, return_documents=return_documents)), timeout_s)

    async def rerank_many(
        self,
        requests: Iterable[RerankRequest] | AsyncIterable[RerankRequest],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        progress: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[Reranked, None]:
        """Yield what became of each of many requests. As `Client.rerank_many`; `requests` may be asynchronous."""

        async def ask(request: RerankRequest) -> Ranking | ServiceError:
            try:
                return await self._ask(http_calls.rerank_call(request), timeout_s)
            except ServiceError as error:
                return error

        answers = stream(ask, requests, concurrency=concurrency, ordered=ordered)
        async with aclosing(answers):
            with Bar(STREAM_TITLE, total_of(requests), is_wanted=progress) as bar:
                async for answered in answers:
                    bar.advance()
                    yield Reranked(*answered)

    async def rank(
        self, query: str, documents: Sequence[str], top_k: int | None = None, return_documents: bool = False
    ) -> list[RankEntry]:
        """Return the ranking as dicts. As `Client.rank`."""
        return http_calls.rank_entries(await self.rerank(query, documents, top_n=top_k, return_documents=return_documents))

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        is_query: bool = False,
        instruction: str | None = None,
        dimensions: int | None = None,
        timeout_s: float | None = None,
    ) -> Embeddings:
        """Return one vector per text. As `Client.embed`."""
        call = http_calls.embed_call(texts, model=model, is_query=is_query, instruction=instruction, dimensions=dimensions)
        return await self._ask(call, timeout_s)

    async def models(self) -> list[ModelEntry]:
        """Return the models the server offers."""
        return await self._ask(http_calls.models_call(), None)

    async def is_ready(self) -> bool:
        """Return whether the server is there and takes work."""
        try:
            return http_calls.ready_call().read(await self._send(http_calls.ready_call(), _Budget(READY_TIMEOUT_S)))
        except (EngineUnavailable, DeadlineExceeded):
            return False

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, call: http_calls.HttpCall[T], timeout_s: float | None) -> T:
        budget, num_sent = self._budget(timeout_s), 0
        while True:
            response, num_sent = await self._send(call, budget), num_sent + 1
            pause_s = self._pause_s(response, num_sent, budget)
            if pause_s is None:
                return call.read(response)
            await asyncio.sleep(pause_s)

    async def _send(self, call: http_calls.HttpCall[T], budget: _Budget) -> httpx2.Response:
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
        raise InvalidInput("The server's address is not a URL.", param="base_url") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidInput("The server's address must look like http://host:port.", param="base_url")
    return root


def _key(api_key: str) -> str:
    if not api_key.isascii() or not api_key.isprintable():
        raise InvalidInput("An API key has only printable ASCII characters.", param="api_key")
    return api_key
