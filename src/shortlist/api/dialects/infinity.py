"""Infinity's rerank: documents come back as plain strings.

Source: infinity-emb 0.0.78, `fastapi_schemas/pymodels.py`; its client always sends `raw_scores`.
"""

from __future__ import annotations

from typing import ClassVar, Final, NotRequired

from typing_extensions import TypedDict

from shortlist.api.dialects import common
from shortlist.api.dialects.conversions import usage
from shortlist.api.dialects.dialect import Dialect, Json, RequestView, ResponseMeta
from shortlist.schemas.rerank import OwnRerankFields, TokenUsage
from shortlist.types import Ranked, RerankOutcome

FIELDS: Final = frozenset({"model", "query", "documents", "top_n", "raw_scores", "return_documents"})
"""All that its client sends."""


class InfinityDocument(TypedDict):
    """A ranked document."""

    relevance_score: float
    index: int
    document: NotRequired[str]


class InfinityRanking(OwnRerankFields):
    """The ranking, best first."""

    object: str
    id: str
    model: str
    created: int
    usage: TokenUsage
    results: list[InfinityDocument]


class InfinityRerankRequest(common.CommonRerankModel):
    """Rank documents for a query."""

    example: ClassVar[Json] = {"query": "red fox", "documents": ["a cat", "the red fox"], "raw_scores": False}

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by a field that only its client sends with documents, without Shortlist's own fields."""
        return "documents" in view.body and "raw_scores" in view.body and not common.has_own_fields(view, FIELDS)

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> InfinityRanking:
        """Return Infinity's ranking."""
        return {
            "object": "rerank",
            "id": f"infinity-{meta.request_id}",
            "model": self.model or outcome.model,
            "created": meta.created_s,
            "usage": usage(outcome.usage.num_tokens),
            "results": [self._result(ranked) for ranked in outcome.results],
            **self.own_fields(outcome),
        }

    def _result(self, ranked: Ranked) -> InfinityDocument:
        result: InfinityDocument = {
            "relevance_score": ranked.raw_score if self.has_raw_scores else ranked.score,
            "index": ranked.index,
        }
        if self.return_documents:
            result["document"] = self.documents[ranked.index]
        return result


DIALECT: Final = Dialect(name="infinity", request_models=(InfinityRerankRequest,))
