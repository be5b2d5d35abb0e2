"""Weaviate's own containers for transformers: reranker-transformers and text2vec-transformers.

Source: weaviate/weaviate, `modules/reranker-transformers/client` and `modules/text2vec-transformers/clients`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from shortlist.api.dialects.base import Body, Dialect, EmbedShape, Fault, Json, ScoreShape, Seen, Stamp
from shortlist.api.dialects.fields import QUERY_HINTS, Count, Documents, Query
from shortlist.api.dialects.superset import RERANK_PATHS
from shortlist.types import EmbedOutcome, EmbedTask, ScoreOutcome, ScoreTask


class RerankRequest(ScoreShape):
    """Score documents for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    example: ClassVar[Json] = {"query": "red fox", "documents": ["a cat", "the red fox"], "property": ""}

    query: Query
    documents: Documents

    @classmethod
    def is_meant(cls, seen: Seen) -> bool:
        """Tell by a field that it always sends, and nobody else does."""
        return "documents" in seen.body and "property" in seen.body

    def task(self) -> ScoreTask:
        """Return what is asked for."""
        return ScoreTask(pairs=tuple((self.query, document) for document in self.documents))

    def answer(self, outcome: ScoreOutcome, stamp: Stamp) -> Json:
        """Return every document with its score, in the order of the request."""
        del stamp
        scores = [
            {"document": document, "score": scored.score}
            for document, scored in zip(self.documents, outcome.scores, strict=True)
        ]
        return {"query": self.query, "scores": scores}


class VectorConfig(Body):
    """What a vector is for."""

    task_type: str | None = None
    dimensions: Count = None


class VectorRequest(EmbedShape):
    """Turn one text into a vector."""

    paths: ClassVar[tuple[str, ...]] = ("/vectors",)
    items_field: ClassVar[str] = "text"
    example: ClassVar[Json] = {"text": "the red fox", "config": {"task_type": "passage"}}

    text: str
    config: VectorConfig | None = Field(default=None)

    @property
    def num_items(self) -> int:
        """One."""
        return 1

    def task(self) -> EmbedTask:
        """Return what is asked for."""
        config = self.config or VectorConfig()
        return EmbedTask(texts=(self.text,), is_query=config.task_type in QUERY_HINTS, dimensions=config.dimensions or None)

    def answer(self, outcome: EmbedOutcome, stamp: Stamp) -> Json:
        """Return the text with its vector."""
        del stamp
        [vector] = outcome.vectors
        return {"text": self.text, "vector": vector, "dim": len(vector)}


def _fault(fault: Fault) -> tuple[int, Json]:
    """Return an error whose `error` is a string, which is all that its clients read."""
    return fault.status, {"error": fault.message}


DIALECT: Final = Dialect(name="weaviate", shapes=(RerankRequest, VectorRequest), fault=_fault)
