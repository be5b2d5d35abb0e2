"""Weaviate's own containers for transformers: reranker-transformers and text2vec-transformers.

Source: weaviate/weaviate, `modules/reranker-transformers/client` and `modules/text2vec-transformers/clients`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field
from typing_extensions import TypedDict

from shortlist.api.dialects.common import RERANK_PATHS
from shortlist.api.dialects.conversions import input_type
from shortlist.api.dialects.dialect import (
    Dialect,
    EmbedModel,
    ErrorInfo,
    Json,
    RequestView,
    ResponseMeta,
    ScoreModel,
)
from shortlist.schemas.embed import VectorField
from shortlist.schemas.fields import Count, Documents, Query, RequestFields
from shortlist.types import EmbedOutcome, EmbedTask, ScoreOutcome, ScoreTask


class WeaviateScore(TypedDict):
    """A document with its score."""

    document: str
    score: float


class WeaviateScores(TypedDict):
    """Every document with its score, in the order of the request."""

    query: str
    scores: list[WeaviateScore]


class WeaviateVector(TypedDict):
    """A text with its vector, and the number of dimensions."""

    text: str
    vector: VectorField
    dim: int


class WeaviateError(TypedDict):
    """An error, which must be a string: clients read nothing else."""

    error: str


class WeaviateRerankRequest(ScoreModel):
    """Score documents for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    noted: ClassVar[frozenset[str]] = frozenset({"property"})  # which of the objects' properties the documents are
    example: ClassVar[Json] = {"query": "red fox", "documents": ["a cat", "the red fox"], "property": ""}

    query: Query
    documents: Documents

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by a field that only Weaviate sends, in every request."""
        return "documents" in view.body and "property" in view.body

    def task(self) -> ScoreTask:
        """Return the task."""
        return ScoreTask(pairs=tuple((self.query, document) for document in self.documents))

    def answer(self, outcome: ScoreOutcome, meta: ResponseMeta) -> WeaviateScores:
        """Return every document with its score, in the order of the request."""
        del meta
        scores: list[WeaviateScore] = [
            {"document": document, "score": scored.score}
            for document, scored in zip(self.documents, outcome.scores, strict=True)
        ]
        return {"query": self.query, "scores": scores}


class WeaviateVectorConfig(RequestFields):
    """The options of a vector request."""

    task_type: str | None = None
    dimensions: Count = None


class WeaviateVectorRequest(EmbedModel):
    """Embed one text."""

    paths: ClassVar[tuple[str, ...]] = ("/vectors",)
    items_field: ClassVar[str] = "text"
    noted: ClassVar[frozenset[str]] = frozenset(
        {"vector", "dims", "error"}
    )  # of the answer, for which clients reuse the object
    example: ClassVar[Json] = {"text": "the red fox", "config": {"task_type": "passage"}}

    text: str
    config: WeaviateVectorConfig | None = Field(default=None)

    @property
    def num_items(self) -> int:
        """One."""
        return 1

    def task(self) -> EmbedTask:
        """Return the task."""
        config = self.config or WeaviateVectorConfig()
        return EmbedTask(
            texts=(self.text,), input_type=input_type(task_type=config.task_type), dimensions=config.dimensions or None
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> WeaviateVector:
        """Return the text with its vector."""
        del meta
        [vector] = outcome.vectors
        return {"text": self.text, "vector": vector, "dim": len(vector)}


def _error_body(error: ErrorInfo) -> tuple[int, WeaviateError]:
    return error.status, {"error": error.message}


DIALECT: Final = Dialect(name="weaviate", request_models=(WeaviateRerankRequest, WeaviateVectorRequest), error_body=_error_body)
