"""Pinecone's rerank: documents are objects and come back as such. Source: the pinecone package 10.2.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NotRequired

from typing_extensions import TypedDict

from shortlist.api.dialects.common import RERANK_PATHS
from shortlist.api.dialects.conversions import overflow
from shortlist.api.dialects.dialect import Dialect, Json, RequestView, RerankModel, ResponseMeta
from shortlist.schemas.fields import Count, Items, Names, Query, RequestFields, read_documents
from shortlist.types import Ranked, RerankOutcome, RerankTask

VERSION_HEADER: Final = b"x-pinecone-api-version"


class PineconeDocument(TypedDict):
    """A ranked document, as the request has it."""

    index: int
    score: float
    document: NotRequired[Mapping[str, object]]


class PineconeUsage(TypedDict):
    """What Pinecone bills."""

    rerank_units: int


class PineconeRanking(TypedDict):
    """The ranking, best first."""

    model: str
    data: list[PineconeDocument]
    usage: PineconeUsage


class PineconeParameters(RequestFields):
    """The options of a model."""

    truncate: str | None = None


class PineconeRerankRequest(RerankModel):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    example: ClassVar[Json] = {"query": "red fox", "documents": [{"id": "1", "text": "the red fox"}], "rank_fields": ["text"]}

    model: str | None = None
    query: Query
    rank_fields: Names | None = None
    documents: Items[list[dict[str, object] | str]]
    top_n: Count = None
    return_documents: bool | None = None
    parameters: PineconeParameters | None = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the header that its client sends with everything."""
        return VERSION_HEADER in view.headers

    def task(self) -> RerankTask:
        """Return the task."""
        texts = read_documents(self.documents, "documents", self.rank_fields or ["text"])
        return RerankTask(
            query=self.query,
            documents=tuple(texts),
            model=self.model,
            top_n=self.top_n or None,
            on_overflow=overflow(self.parameters.truncate if self.parameters else None),
        )

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> PineconeRanking:
        """Return Pinecone's list."""
        del meta
        return {
            "model": self.model or outcome.model,
            "data": [self._result(ranked) for ranked in outcome.results],
            "usage": {"rerank_units": 1},
        }

    def _result(self, ranked: Ranked) -> PineconeDocument:
        result: PineconeDocument = {"index": ranked.index, "score": ranked.score}
        if self.return_documents is not False:
            document = self.documents[ranked.index]
            result["document"] = {"text": document} if isinstance(document, str) else document
        return result


DIALECT: Final = Dialect(name="pinecone", request_models=(PineconeRerankRequest,))
