"""Voyage's rerank: the common request with other names for the limit and the results.

Source: the voyageai package 0.5.0, which always sends `top_k` and `truncation`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, NotRequired

from typing_extensions import TypedDict

from shortlist.api.dialects import common
from shortlist.api.dialects.dialect import Dialect, ErrorInfo, Json, RequestView, ResponseMeta
from shortlist.schemas.fields import Count
from shortlist.schemas.rerank import OwnRerankFields
from shortlist.types import Ranked, RerankOutcome, RerankTask

FIELDS: Final = frozenset({"model", "query", "documents", "truncation", "return_documents"})
"""Fields that its client sends and the common dialect also has."""


class VoyageDocument(TypedDict):
    """A ranked document."""

    index: int
    relevance_score: float
    document: NotRequired[str]


class VoyageUsage(TypedDict):
    """Tokens that the model processed."""

    total_tokens: int


class VoyageRanking(OwnRerankFields):
    """The ranking, best first."""

    object: str
    data: list[VoyageDocument]
    model: str
    usage: VoyageUsage


class VoyageError(TypedDict):
    """An error without `error`: when that is an object, releases before 0.5 fail over it."""

    detail: str
    message: str
    request_id: str


class VoyageRerankRequest(common.CommonRerankModel):
    """Rank documents for a query; they come back only on request."""

    example: ClassVar[Json] = {"query": "red fox", "documents": ["a cat", "the red fox"], "top_k": 1}

    top_k: Count = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by fields that only Voyage sends with documents, without Shortlist's own."""
        is_marked = "documents" in view.body and not {"top_k", "truncation"}.isdisjoint(view.body)
        return is_marked and not common.has_own_fields(view, FIELDS)

    def task(self) -> RerankTask:
        """Return the task."""
        return replace(super().task(), top_n=self.top_k or self.top_n or None)

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> VoyageRanking:
        """Return Voyage's list."""
        del meta
        return {
            "object": "list",
            "data": [self._result(ranked) for ranked in outcome.results],
            "model": self.model or outcome.model,
            "usage": {"total_tokens": outcome.usage.num_tokens},
            **self.own_fields(outcome),
        }

    def _result(self, ranked: Ranked) -> VoyageDocument:
        result: VoyageDocument = {
            "index": ranked.index,
            "relevance_score": ranked.raw_score if self.has_raw_scores else ranked.score,
        }
        if self.return_documents:
            result["document"] = self.documents[ranked.index]
        return result


def _error_body(error: ErrorInfo) -> tuple[int, VoyageError]:
    return error.status, {"detail": error.message, "message": error.message, "request_id": error.request_id}


DIALECT: Final = Dialect(name="voyage", request_models=(VoyageRerankRequest,), error_body=_error_body)
