"""Alibaba's DashScope (Model Studio): rerank and embeddings in its native envelope.

Sources: the dashscope package 2.0.2, `rerank/text_rerank.py`, `embeddings/`; help.aliyun.com, error codes. Its compatible
rerank is in `common`.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, NotRequired

from typing_extensions import TypedDict

from shortlist.api.dialects.common import RERANK_PATHS
from shortlist.api.dialects.conversions import input_type
from shortlist.api.dialects.dialect import (
    Dialect,
    EmbedModel,
    ErrorInfo,
    Json,
    RequestView,
    RerankModel,
    ResponseMeta,
)
from shortlist.schemas.embed import VectorField
from shortlist.schemas.fields import Count, Documents, Query, RequestFields, Texts
from shortlist.schemas.rerank import DocumentText
from shortlist.types import EmbedOutcome, EmbedTask, InputType, Ranked, RerankOutcome, RerankTask


class DashScopeDocument(TypedDict):
    """A ranked document."""

    index: int
    relevance_score: float
    document: NotRequired[DocumentText]


class DashScopeRanking(TypedDict):
    """The ranking, best first."""

    results: list[DashScopeDocument]


class DashScopeUsage(TypedDict):
    """Tokens that the model processed."""

    total_tokens: int


class DashScopeRerankAnswer(TypedDict):
    """The ranking in its envelope."""

    output: DashScopeRanking
    usage: DashScopeUsage
    request_id: str


class DashScopeEmbedding(TypedDict):
    """The vector of a text."""

    text_index: int
    embedding: VectorField


class DashScopeEmbeddings(TypedDict):
    """One vector per text."""

    embeddings: list[DashScopeEmbedding]


class DashScopeEmbedAnswer(TypedDict):
    """The vectors in their envelope."""

    output: DashScopeEmbeddings
    usage: DashScopeUsage
    request_id: str


class DashScopeError(TypedDict):
    """A flat error with DashScope's code."""

    code: str
    message: str
    request_id: str


class DashScopeRerankInput(RequestFields):
    """The texts of a rerank request."""

    query: Query
    documents: Documents


class DashScopeRerankParameters(RequestFields):
    """The options of a rerank request."""

    top_n: Count = None
    return_documents: bool | None = None
    instruct: str | None = None


class DashScopeRerankRequest(RerankModel):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = (
        "/api/v1/services/rerank/text-rerank/text-rerank",
        "/services/rerank/text-rerank/text-rerank",
        *RERANK_PATHS,
    )
    items_field: ClassVar[str] = "input.documents"
    example: ClassVar[Json] = {"input": {"query": "red fox", "documents": ["a cat", "the red fox"]}, "parameters": {"top_n": 1}}

    model: str | None = None
    input: DashScopeRerankInput
    parameters: DashScopeRerankParameters | None = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the envelope, on any path: LightRAG sends it to all."""
        return isinstance(view.body.get("input"), dict) or view.path not in RERANK_PATHS

    @property
    def num_items(self) -> int:
        """The number of documents."""
        return len(self.input.documents)

    def task(self) -> RerankTask:
        """Return the task."""
        parameters = self.parameters or DashScopeRerankParameters()
        return RerankTask(
            query=self.input.query,
            documents=tuple(self.input.documents),
            model=self.model,
            instruction=parameters.instruct or None,
            top_n=parameters.top_n or None,
        )

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> DashScopeRerankAnswer:
        """Return the ranking in its envelope."""
        return {
            "output": {"results": [self._result(ranked) for ranked in outcome.results]},
            "usage": {"total_tokens": outcome.usage.num_tokens},
            "request_id": meta.request_id,
        }

    def _result(self, ranked: Ranked) -> DashScopeDocument:
        result: DashScopeDocument = {"index": ranked.index, "relevance_score": ranked.score}
        if self.parameters is not None and self.parameters.return_documents:
            result["document"] = {"text": self.input.documents[ranked.index]}
        return result


class DashScopeEmbedInput(RequestFields):
    """The texts of an embed request."""

    texts: Texts


class DashScopeEmbedParameters(RequestFields):
    """The options of an embed request."""

    text_type: str | None = None
    dimension: Count = None
    instruct: str | None = None
    output_type: Literal["dense"] | None = None


class DashScopeEmbedRequest(EmbedModel):
    """Embed texts."""

    paths: ClassVar[tuple[str, ...]] = (
        "/api/v1/services/embeddings/text-embedding/text-embedding",
        "/services/embeddings/text-embedding/text-embedding",
    )
    items_field: ClassVar[str] = "input.texts"
    example: ClassVar[Json] = {"input": {"texts": ["first text", "second text"]}, "parameters": {"text_type": "document"}}

    model: str | None = None
    input: DashScopeEmbedInput
    parameters: DashScopeEmbedParameters | None = None

    @property
    def num_items(self) -> int:
        """The number of texts."""
        return len(self.input.texts)

    def task(self) -> EmbedTask:
        """Return the task."""
        parameters = self.parameters or DashScopeEmbedParameters()
        kind = input_type(text_type=parameters.text_type)
        return EmbedTask(
            texts=tuple(self.input.texts),
            model=self.model,
            input_type=kind,
            instruction=(parameters.instruct or None) if kind is InputType.QUERY else None,
            dimensions=parameters.dimension or None,
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> DashScopeEmbedAnswer:
        """Return the vectors in their envelope."""
        vectors: list[DashScopeEmbedding] = [
            {"text_index": index, "embedding": vector} for index, vector in enumerate(outcome.vectors)
        ]
        return {
            "output": {"embeddings": vectors},
            "usage": {"total_tokens": outcome.usage.num_tokens},
            "request_id": meta.request_id,
        }


_CODES: Final = {400: "InvalidParameter", 401: "InvalidApiKey", 404: "Model.NotExist", 429: "Throttling"}


def _error_body(error: ErrorInfo) -> tuple[int, DashScopeError]:
    code = _CODES.get(error.status, "InternalError" if error.status >= 500 else "InvalidParameter")
    return error.status, {"code": code, "message": error.message, "request_id": error.request_id}


DIALECT: Final = Dialect(
    name="dashscope", request_models=(DashScopeRerankRequest, DashScopeEmbedRequest), error_body=_error_body
)
