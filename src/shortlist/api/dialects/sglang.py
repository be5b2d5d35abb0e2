"""SGLang's rerank: the common request, answered with a bare list, so only at `/compat/sglang/`.

Source: sglang 0.5.23, `srt/entrypoints/openai/serving_rerank.py`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from shortlist.api.dialects.common import RERANK_PATHS
from shortlist.api.dialects.dialect import Dialect, ErrorInfo, Json, RequestView, RerankModel, ResponseMeta
from shortlist.api.dialects.fields import Count, Documents, Query
from shortlist.types import Ranked, RerankOutcome, RerankTask


class SGLangRerankRequest(RerankModel):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    example: ClassVar[Json] = {"query": "red fox", "documents": ["a cat", "the red fox"]}

    model: str | None = None
    query: Query
    documents: Documents
    instruct: str | None = None
    top_n: Count = None
    return_documents: bool | None = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Never: its body is the same as Jina's."""
        del view
        return False

    def task(self) -> RerankTask:
        """Return the task."""
        return RerankTask(
            query=self.query,
            documents=tuple(self.documents),
            model=self.model,
            instruction=self.instruct or None,
            top_n=self.top_n or None,
        )

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> list[Json]:
        """Return the bare ranking."""
        del meta
        return [self._result(ranked) for ranked in outcome.results]

    def _result(self, ranked: Ranked) -> Json:
        result: dict[str, object] = {"score": ranked.score, "index": ranked.index, "meta_info": None}
        return result if self.return_documents is False else result | {"document": self.documents[ranked.index]}


def _error_body(error_body: ErrorInfo) -> tuple[int, Json]:
    """Return an error in SGLang's flat form."""
    return error_body.status, {
        "object": "error",
        "message": error_body.message,
        "type": error_body.type,
        "param": error_body.param,
        "code": error_body.status,
    }


DIALECT: Final = Dialect(name="sglang", request_models=(SGLangRerankRequest,), error_body=_error_body)
