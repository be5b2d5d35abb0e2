"""Results of calls: frozen values, independent of JSON and HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from shortlist.errors import ServiceError
from shortlist.types import Vector


@dataclass(frozen=True, slots=True)
class TimingMs:
    """The server's timing. Units: milliseconds; None where not reported."""

    total: float | None = None
    tokenize: float | None = None
    queue: float | None = None
    compute: float | None = None


@dataclass(frozen=True, slots=True)
class RankedText:
    """One ranked document.

    Attributes:
        index: Position in the caller's list.
        score: Relevance; in 0..1 unless the request asks for raw scores.
        text: The document, or None if `return_documents` is false.
    """

    index: int
    score: float
    text: str | None = None


@dataclass(frozen=True, slots=True)
class NotRanked:
    """One document that failed, with the reason. The other documents are ranked."""

    index: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The documents, most relevant first.

    Attributes:
        model: Name of the model that ranked them.
        results: At most `top_n` documents, best first.
        truncated: Positions of truncated documents.
        failed: Documents without a score.
        num_tokens: Tokens the model processed.
        timing_ms: The server's timing.
        request_id: The server's id of this request, as in its logs.
    """

    model: str
    results: Sequence[RankedText]
    truncated: Sequence[int] = ()
    failed: Sequence[NotRanked] = ()
    num_tokens: int = 0
    timing_ms: TimingMs = TimingMs()
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """The arguments of `Client.embed` as a value, for `submit` and `batch`."""

    texts: Sequence[str]
    model: str | None = None
    is_query: bool = False
    instruction: str | None = None
    dimensions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """The arguments of `Client.rerank` as a value, for `rerank_many`, `submit` and `batch`."""

    query: str
    documents: Sequence[str]
    model: str | None = None
    instruction: str | None = None
    top_n: int | None = None
    return_documents: bool = True


@dataclass(frozen=True, slots=True)
class Reranked:
    """The outcome of one request of `rerank_many` or `batch`.

    Attributes:
        position: Position in the stream, from 0.
        request: The rerank request.
        answer: The ranking, or the error; other requests are not affected.
    """

    position: int
    request: RerankRequest
    answer: Ranking | ServiceError

    @property
    def ranking(self) -> Ranking:
        """The ranking. Raises the error of a failed request."""
        if isinstance(self.answer, ServiceError):
            raise self.answer
        return self.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """One vector per text, in the caller's order.

    Shapes:
        vectors: each [dimensions] float32.
    """

    model: str
    vectors: list[Vector]
    num_tokens: int = 0
    timing_ms: TimingMs = TimingMs()
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """The outcome of one request of `batch`.

    Attributes:
        position: Position among the requests, from 0.
        request: The request.
        answer: The vectors, or the error; other requests are not affected.
    """

    position: int
    request: EmbedRequest
    answer: Embeddings | ServiceError

    @property
    def embeddings(self) -> Embeddings:
        """The vectors. Raises the error of a failed request."""
        if isinstance(self.answer, ServiceError):
            raise self.answer
        return self.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model of the server.

    Attributes:
        name: Value for `model`.
        tasks: Supported tasks: "rerank", "embed".
        max_model_len: Maximum number of tokens per prompt; None if not reported.
        aliases: Alternative names.
    """

    name: str
    tasks: frozenset[str]
    max_model_len: int | None = None
    aliases: tuple[str, ...] = ()

    @property
    def is_reranker(self) -> bool:
        """Whether it can rank documents."""
        return "rerank" in self.tasks


class RankEntry(TypedDict):
    """One row of `Client.rank`, with the field names of sentence-transformers."""

    corpus_id: int
    score: float
    text: NotRequired[str]
