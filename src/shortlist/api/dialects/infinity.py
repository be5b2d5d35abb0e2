"""Infinity's rerank: documents come back as plain strings.

Source: infinity-emb 0.0.78, `fastapi_schemas/pymodels.py`; its client always sends `raw_scores`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from shortlist.api.dialects.base import Dialect, Json, RerankShape, Seen, Stamp
from shortlist.api.dialects.fields import Count, Documents, Query, usage
from shortlist.api.dialects.superset import RERANK_PATHS
from shortlist.types import Ranked, RerankOutcome, RerankTask


class RerankRequest(RerankShape):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    example: ClassVar[Json] = {"query": "red fox", "documents": ["a cat", "the red fox"], "raw_scores": False}

    model: str | None = None
    query: Query
    documents: Documents
    top_n: Count = None
    raw_scores: bool | None = None
    return_documents: bool | None = None

    @classmethod
    def is_meant(cls, seen: Seen) -> bool:
        """Tell by a field that only its client sends with documents."""
        return "documents" in seen.body and "raw_scores" in seen.body

    def task(self) -> RerankTask:
        """Return what is asked for."""
        return RerankTask(query=self.query, documents=tuple(self.documents), model=self.model, top_n=self.top_n or None)

    def answer(self, outcome: RerankOutcome, stamp: Stamp) -> Json:
        """Return Infinity's ranking."""
        return {
            "object": "rerank",
            "id": f"infinity-{stamp.request_id}",
            "model": self.model or outcome.model,
            "created": stamp.created_s,
            "usage": usage(outcome.usage.num_tokens),
            "results": [self._result(ranked) for ranked in outcome.results],
        }

    def _result(self, ranked: Ranked) -> Json:
        result = {"relevance_score": ranked.raw_score if self.raw_scores else ranked.score, "index": ranked.index}
        return result | {"document": self.documents[ranked.index]} if self.return_documents else result


DIALECT: Final = Dialect(name="infinity", shapes=(RerankRequest,))
