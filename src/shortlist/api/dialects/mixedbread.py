"""Mixedbread's rerank. Source: the mixedbread package, `reranking_create_params`."""

from __future__ import annotations

from typing import ClassVar, Final, NotRequired

from typing_extensions import TypedDict

from shortlist.api.dialects.common import RERANK_PATHS
from shortlist.api.dialects.conversions import usage
from shortlist.api.dialects.dialect import Dialect, Json, RequestView, RerankModel, ResponseMeta
from shortlist.schemas.fields import Count, Documents, Names, Query
from shortlist.schemas.rerank import TokenUsage
from shortlist.types import Ranked, RerankOutcome, RerankTask


class MixedbreadDocument(TypedDict):
    """A ranked document."""

    index: int
    score: float
    object: str
    input: NotRequired[str]


class MixedbreadRanking(TypedDict):
    """The ranking, best first."""

    object: str
    model: str
    data: list[MixedbreadDocument]
    usage: TokenUsage
    top_k: int
    return_input: bool


class MixedbreadRerankRequest(RerankModel):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    items_field: ClassVar[str] = "input"
    example: ClassVar[Json] = {"query": "red fox", "input": ["a cat", "the red fox"], "top_k": 1}

    model: str | None = None
    query: Query
    rank_fields: Names | None = None
    input: Documents
    top_k: Count = None
    return_input: bool | None = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the field of the documents, a list."""
        return isinstance(view.body.get("input"), list)

    def task(self) -> RerankTask:
        """Return the task."""
        return RerankTask(query=self.query, documents=tuple(self.input), model=self.model, top_n=self.top_k or None)

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> MixedbreadRanking:
        """Return Mixedbread's list."""
        del meta
        return {
            "object": "list",
            "model": self.model or outcome.model,
            "data": [self._result(ranked) for ranked in outcome.results],
            "usage": usage(outcome.usage.num_tokens),
            "top_k": self.top_k or len(self.input),
            "return_input": self.return_input is True,
        }

    def _result(self, ranked: Ranked) -> MixedbreadDocument:
        result: MixedbreadDocument = {"index": ranked.index, "score": ranked.score, "object": "rank_result"}
        if self.return_input:
            result["input"] = self.input[ranked.index]
        return result


DIALECT: Final = Dialect(name="mixedbread", request_models=(MixedbreadRerankRequest,))
