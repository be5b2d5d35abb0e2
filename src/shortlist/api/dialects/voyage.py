"""Voyage's rerank: the superset with other names for the limit and the results.

Source: the voyageai package 0.5.0, which always sends `top_k` and `truncation`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from shortlist.api.dialects.base import Dialect, Fault, Json, RerankShape, Seen, Stamp
from shortlist.api.dialects.fields import Count, Documents, Query, overflow
from shortlist.api.dialects.superset import RERANK_PATHS
from shortlist.types import Ranked, RerankOutcome, RerankTask


class RerankRequest(RerankShape):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    example: ClassVar[Json] = {"query": "red fox", "documents": ["a cat", "the red fox"], "top_k": 1}

    model: str | None = None
    query: Query
    documents: Documents
    top_k: Count = None
    truncation: bool | None = None
    return_documents: bool | None = Field(default=None, description="Whether results carry their text; no if absent.")

    @classmethod
    def is_meant(cls, seen: Seen) -> bool:
        """Tell by fields that nobody else sends with documents."""
        return "documents" in seen.body and not {"top_k", "truncation"}.isdisjoint(seen.body) and "top_n" not in seen.body

    def task(self) -> RerankTask:
        """Return what is asked for."""
        return RerankTask(
            query=self.query,
            documents=tuple(self.documents),
            model=self.model,
            top_n=self.top_k or None,
            on_overflow=overflow(self.truncation),
        )

    def answer(self, outcome: RerankOutcome, stamp: Stamp) -> Json:
        """Return Voyage's list."""
        del stamp
        return {
            "object": "list",
            "data": [self._result(ranked) for ranked in outcome.results],
            "model": self.model or outcome.model,
            "usage": {"total_tokens": outcome.usage.num_tokens},
        }

    def _result(self, ranked: Ranked) -> Json:
        result: dict[str, object] = {"index": ranked.index, "relevance_score": ranked.score}
        return result | {"document": self.documents[ranked.index]} if self.return_documents else result


def _fault(fault: Fault) -> tuple[int, Json]:
    """Return an error without `error`: when that is an object, releases before 0.5 fail over it."""
    return fault.status, {"detail": fault.message, "message": fault.message, "request_id": fault.request_id}


DIALECT: Final = Dialect(name="voyage", shapes=(RerankRequest,), fault=_fault)
