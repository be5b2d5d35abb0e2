"""QAnything's own services: bare numbers, in the order of the request. Source: netease-youdao/QAnything, `dependent_server`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from shortlist.api.dialects.common import RERANK_PATHS
from shortlist.api.dialects.dialect import Dialect, EmbedModel, Json, RequestView, ResponseMeta, ScoreModel
from shortlist.schemas.embed import VectorField
from shortlist.schemas.fields import Documents, Query, Texts
from shortlist.types import EmbedOutcome, EmbedTask, ScoreOutcome, ScoreTask


class QAnythingRerankRequest(ScoreModel):
    """Score passages for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    items_field: ClassVar[str] = "passages"
    example: ClassVar[Json] = {"query": "red fox", "passages": ["a cat", "the red fox"]}

    query: Query
    passages: Documents

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the field of the documents."""
        return "passages" in view.body

    def task(self) -> ScoreTask:
        """Return the task."""
        return ScoreTask(pairs=tuple((self.query, passage) for passage in self.passages))

    def answer(self, outcome: ScoreOutcome, meta: ResponseMeta) -> list[float]:
        """Return the scores."""
        del meta
        return [scored.score for scored in outcome.scores]


class QAnythingEmbedRequest(EmbedModel):
    """Embed texts."""

    paths: ClassVar[tuple[str, ...]] = ("/embedding",)
    items_field: ClassVar[str] = "texts"
    example: ClassVar[Json] = {"texts": ["first text", "second text"]}

    texts: Texts

    def task(self) -> EmbedTask:
        """Return the task."""
        return EmbedTask(texts=tuple(self.texts))

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> Sequence[VectorField]:
        """Return the vectors."""
        del meta
        return outcome.vectors


DIALECT: Final = Dialect(name="qanything", request_models=(QAnythingRerankRequest, QAnythingEmbedRequest))
