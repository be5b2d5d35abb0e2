"""The blocking and the asyncio client. `http_calls` builds and parses, `http_session` sends and retries."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Sequence
from contextlib import aclosing, closing
from functools import partial

from shortlist.client import http_calls
from shortlist.client.http_session import DEFAULT_TIMEOUT_S, DEFAULT_URL, Budget
from shortlist.client.job_methods import AsyncJobMethods, JobMethods
from shortlist.client.progress import Bar, total_of
from shortlist.client.results import Embeddings, EmbedRequest, ModelEntry, RankEntry, Ranking, Reranked, RerankRequest
from shortlist.client.stream import blocking_stream, stream
from shortlist.errors import DeadlineExceeded, EngineUnavailable, ServiceError

__all__ = ["DEFAULT_TIMEOUT_S", "DEFAULT_URL", "AsyncClient", "Client"]

READY_TIMEOUT_S = 5.0
"""Timeout of a readiness check in seconds."""
STREAM_TITLE = "reranking"


class Client(JobMethods):
    """Blocking client of a Shortlist server. Thread-safe. Close it, or use it in a `with`.

    Args:
        base_url: The server's address. A trailing `/v1`, as other clients require it, is ignored.
        api_key: Sent as a bearer token; None sends none.
        timeout_s: Default timeout of a call in seconds, retries included.
        max_retries: Number of retries after a 429 or 503.
        max_pause_s: Maximum wait before one retry in seconds.
        transport: Replaces the network transport in tests.
    """

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
            query: The search query.
            documents: The candidate documents.
            model: Name or alias; None means the server's default reranker.
            instruction: Defines relevance in words; None means the model's default.
            top_n: Number of results to return; None means all.
            return_documents: Whether results carry their text.
            timeout_s: Timeout of this call in seconds, retries included; None means the client's default.

        Raises:
            ServiceError: the server's error, or `EngineUnavailable` if no server answered.
        """
        make_request = partial(RerankRequest, query=query, documents=documents, model=model, instruction=instruction)
        return self._call(http_calls.rerank_call(make_request(top_n=top_n, return_documents=return_documents)), timeout_s)

    def rerank_many(
        self,
        requests: Iterable[RerankRequest],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        progress: bool = False,
        timeout_s: float | None = None,
    ) -> Generator[Reranked, None, None]:
        """Yield the ranking or the error of each request; a failed request does not stop the others.

        A request is taken from the source only when it can be sent, so `requests` may be endless.

        Args:
            requests: The rerank requests.
            concurrency: Maximum number of concurrent requests, and of results that wait for the caller.
            ordered: Whether results keep the order of the requests, or arrive as they complete.
            progress: Whether to show a progress bar on standard error, if it is a terminal.
            timeout_s: Timeout of each call in seconds, retries included; None means the client's default.

        Raises:
            InvalidInput: `concurrency` is not at least 1.
        """

        def send(request: RerankRequest) -> Ranking | ServiceError:
            try:
                return self._call(http_calls.rerank_call(request), timeout_s)
            except ServiceError as error:
                return error

        answers = blocking_stream(send, requests, concurrency=concurrency, ordered=ordered)
        with closing(answers), Bar(STREAM_TITLE, total_of(requests), is_wanted=progress) as bar:
            for answered in answers:
                bar.advance()
                yield Reranked(*answered)

    def rank(
        self, query: str, documents: Sequence[str], top_k: int | None = None, return_documents: bool = False
    ) -> list[RankEntry]:
        """Return the ranking as sentence-transformers' `CrossEncoder.rank` would: dicts of `corpus_id`, `score`, `text`.

        Source: sentence-transformers 6.2, `CrossEncoder.rank`, whose other arguments configure local computation.
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
            texts: The texts to embed.
            model: Name or alias; None means the server's default embedder.
            is_query: Whether the texts are queries; some models use another prompt template for queries.
            instruction: The instruction for queries.
            dimensions: Truncate vectors to this many dimensions; None means the model's dimensions.
            timeout_s: Timeout of this call in seconds, retries included; None means the client's default.

        Raises:
            ServiceError: the server's error, or `EngineUnavailable` if no server answered.
        """
        make_request = partial(EmbedRequest, texts=texts, model=model, is_query=is_query, instruction=instruction)
        return self._call(http_calls.embed_call(make_request(dimensions=dimensions)), timeout_s)

    def models(self) -> list[ModelEntry]:
        """Return the models of the server."""
        return self._call(http_calls.models_call(), None)

    def is_ready(self) -> bool:
        """Return whether the server is reachable and ready."""
        try:
            return http_calls.ready_call().read(self._send(http_calls.ready_call(), Budget(READY_TIMEOUT_S)))
        except (EngineUnavailable, DeadlineExceeded):
            return False


class AsyncClient(AsyncJobMethods):
    """`Client` for asyncio: the same methods, awaited. Close it, or use it in an `async with`.

    Args:
        base_url: The server's address. A trailing `/v1`, as other clients require it, is ignored.
        api_key: Sent as a bearer token; None sends none.
        timeout_s: Default timeout of a call in seconds, retries included.
        max_retries: Number of retries after a 429 or 503.
        max_pause_s: Maximum wait before one retry in seconds.
        transport: Replaces the network transport; `httpx2.ASGITransport(app)` calls an app in this process.
    """

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
        make_request = partial(RerankRequest, query=query, documents=documents, model=model, instruction=instruction)
        return await self._call(http_calls.rerank_call(make_request(top_n=top_n, return_documents=return_documents)), timeout_s)

    async def rerank_many(
        self,
        requests: Iterable[RerankRequest] | AsyncIterable[RerankRequest],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        progress: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[Reranked, None]:
        """Yield the ranking or the error of each request. As `Client.rerank_many`; `requests` may be asynchronous."""

        async def send(request: RerankRequest) -> Ranking | ServiceError:
            try:
                return await self._call(http_calls.rerank_call(request), timeout_s)
            except ServiceError as error:
                return error

        answers = stream(send, requests, concurrency=concurrency, ordered=ordered)
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
        make_request = partial(EmbedRequest, texts=texts, model=model, is_query=is_query, instruction=instruction)
        return await self._call(http_calls.embed_call(make_request(dimensions=dimensions)), timeout_s)

    async def models(self) -> list[ModelEntry]:
        """Return the models of the server."""
        return await self._call(http_calls.models_call(), None)

    async def is_ready(self) -> bool:
        """Return whether the server is reachable and ready."""
        try:
            return http_calls.ready_call().read(await self._send(http_calls.ready_call(), Budget(READY_TIMEOUT_S)))
        except (EngineUnavailable, DeadlineExceeded):
            return False
