"""NVIDIA NIM's ranking: one unbounded number per passage; its clients apply the sigmoid.

Source: langchain-nvidia-ai-endpoints 1.5.0 and LiteLLM's nvidia_nim provider.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from typing_extensions import TypedDict

from shortlist.api.dialects.common import RERANK_PATHS
from shortlist.api.dialects.conversions import overflow, usage
from shortlist.api.dialects.dialect import Dialect, Json, RequestView, RerankModel, ResponseMeta
from shortlist.schemas.fields import Count, Documents, Query
from shortlist.schemas.rerank import TokenUsage
from shortlist.types import RerankOutcome, RerankTask


class NvidiaPassage(TypedDict):
    """A ranked passage: the sigmoid of `logit` is its relevance."""

    index: int
    logit: float


class NvidiaRanking(TypedDict):
    """The ranking, best first."""

    rankings: list[NvidiaPassage]
    usage: TokenUsage


class NvidiaRankingRequest(RerankModel):
    """Rank passages for a query."""

    paths: ClassVar[tuple[str, ...]] = ("/ranking", "/v1/ranking", "/v1/retrieval/{rest:path}/reranking", *RERANK_PATHS)
    items_field: ClassVar[str] = "passages"
    example: ClassVar[Json] = {"query": {"text": "red fox"}, "passages": [{"text": "a cat"}, {"text": "the red fox"}]}

    model: str | None = None
    query: Query
    passages: Documents
    truncate: Literal["NONE", "START", "END"] | None = None
    top_n: Count = None
    top_k: Count = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the field of the documents, and a query that is an object, where others use the path too."""
        return "passages" in view.body and (view.path not in RERANK_PATHS or isinstance(view.body.get("query"), dict))

    def task(self) -> RerankTask:
        """Return the task."""
        return RerankTask(
            query=self.query,
            documents=tuple(self.passages),
            model=self.model,
            top_n=self.top_n or self.top_k or None,
            on_overflow=overflow(self.truncate),
        )

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> NvidiaRanking:
        """Return the log-odds: their sigmoid is the score."""
        del meta
        return {
            "rankings": [{"index": ranked.index, "logit": ranked.raw_score} for ranked in outcome.results],
            "usage": usage(outcome.usage.num_tokens),
        }


DIALECT: Final = Dialect(name="nvidia", request_models=(NvidiaRankingRequest,))
