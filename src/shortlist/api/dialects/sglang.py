"""SGLang's rerank: the common request, answered with a bare list, so only at `/compat/sglang/`.

Source: sglang 0.5.23, `srt/entrypoints/openai/serving_rerank.py`.
"""

from __future__ import annotations

from typing import ClassVar, Final, NotRequired

from typing_extensions import TypedDict

from shortlist.api.dialects.common import RERANK_PATHS
from shortlist.api.dialects.dialect import Dialect, ErrorInfo, Json, RequestView, RerankModel, ResponseMeta
from shortlist.schemas.fields import Count, Documents, Query
from shortlist.types import Ranked, RerankOutcome, RerankTask


class SGLangDocument(TypedDict):
    """A ranked document."""

    score: float
    index: int
    meta_info: None
    document: NotRequired[str]


class SGLangError(TypedDict):
    """A flat error; `code` is the HTTP status."""

    object: str
    message: str
    type: str
    param: str | None
    code: int


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

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> list[SGLangDocument]:
        """Return the bare ranking."""
        del meta
        return [self._result(ranked) for ranked in outcome.results]

    def _result(self, ranked: Ranked) -> SGLangDocument:
        result: SGLangDocument = {"score": ranked.score, "index": ranked.index, "meta_info": None}
        if self.return_documents is not False:
            result["document"] = self.documents[ranked.index]
        return result


def _error_body(error: ErrorInfo) -> tuple[int, SGLangError]:
    return error.status, {
        "object": "error",
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.status,
    }


DIALECT: Final = Dialect(name="sglang", request_models=(SGLangRerankRequest,), error_body=_error_body)
