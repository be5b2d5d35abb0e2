"""Mixedbread's rerank. Source: the mixedbread package, `reranking_create_params`."""

from __future__ import annotations

from typing import ClassVar, Final

from shortlist.api.dialects.base import Dialect, Json, RerankShape, Seen, Stamp
from shortlist.api.dialects.fields import Count, Documents, Query, usage
from shortlist.api.dialects.superset import RERANK_PATHS
from shortlist.types import Ranked, RerankOutcome, RerankTask


class RerankRequest(RerankShape):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    items_field: ClassVar[str] = "input"
    example: ClassVar[Json] = {"query": "red fox", "input": ["a cat", "the red fox"], "top_k": 1}

    model: str | None = None
    query: Query
    rank_fields: list[str] | None = None
    input: Documents
    top_k: Count = None
    return_input: bool | None = None

    @classmethod
    def is_meant(cls, seen: Seen) -> bool:
        """Tell by the field of the documents, a list."""
        return isinstance(seen.body.get("input"), list)

    def task(self) -> RerankTask:
        """Return what is asked for."""
        return RerankTask(query=self.query, documents=tuple(self.input), model=self.model, top_n=self.top_k or None)

    def answer(self, outcome: RerankOutcome, stamp: Stamp) -> Json:
        """Return Mixedbread's list."""
        del stamp
        return {
            "object": "list",
            "model": self.model or outcome.model,
            "data": [self._result(ranked) for ranked in outcome.results],
            "usage": usage(outcome.usage.num_tokens),
            "top_k": self.top_k or len(self.input),
            "return_input": self.return_input is True,
        }

    def _result(self, ranked: Ranked) -> Json:
        result: dict[str, object] = {"index": ranked.index, "score": ranked.score, "object": "rank_result"}
        return result | {"input": self.input[ranked.index]} if self.return_input else result


DIALECT: Final = Dialect(name="mixedbread", shapes=(RerankRequest,))
