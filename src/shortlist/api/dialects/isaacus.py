"""Isaacus' rerank. Source: the isaacus provider of the rerankers package 0.10.0."""

from __future__ import annotations

from typing import ClassVar, Final

from typing_extensions import TypedDict

from shortlist.api.dialects.dialect import Dialect, Json, RerankModel, ResponseMeta
from shortlist.api.dialects.published_fields import Unsupported, UnsupportedFields
from shortlist.schemas.fields import Count, Documents, Query
from shortlist.types import RerankOutcome, RerankTask


class IsaacusText(TypedDict):
    """A ranked text."""

    index: int
    score: float


class IsaacusUsage(TypedDict):
    """Tokens that the model processed."""

    input_tokens: int


class IsaacusRanking(TypedDict):
    """The ranking, best first."""

    results: list[IsaacusText]
    usage: IsaacusUsage


class IsaacusRerankRequest(RerankModel):
    """Rank texts for a query."""

    paths: ClassVar[tuple[str, ...]] = ("/v1/rerankings", "/rerankings")
    items_field: ClassVar[str] = "texts"
    unsupported: ClassVar[UnsupportedFields] = {
        "is_iql": Unsupported("queries are plain text", (False,)),
        "scoring_method": Unsupported("every text has one score; it is read as far as the model reads", ("auto",)),
        "chunking_options": Unsupported("texts are not split into chunks"),
    }
    example: ClassVar[Json] = {"query": "red fox", "texts": ["a cat", "the red fox"], "top_n": 1}

    model: str | None = None
    query: Query
    texts: Documents
    top_n: Count = None

    def task(self) -> RerankTask:
        """Return the task."""
        return RerankTask(query=self.query, documents=tuple(self.texts), model=self.model, top_n=self.top_n or None)

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> IsaacusRanking:
        """Return the ranking."""
        del meta
        return {
            "results": [{"index": ranked.index, "score": ranked.score} for ranked in outcome.results],
            "usage": {"input_tokens": outcome.usage.num_tokens},
        }


DIALECT: Final = Dialect(name="isaacus", request_models=(IsaacusRerankRequest,))
