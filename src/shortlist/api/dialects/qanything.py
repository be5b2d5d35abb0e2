"""QAnything's own services: bare numbers, in the order of the request. Source: netease-youdao/QAnything, `dependent_server`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from shortlist.api.dialects.base import Dialect, EmbedShape, Json, ScoreShape, Seen, Stamp
from shortlist.api.dialects.fields import Documents, Query, Texts
from shortlist.api.dialects.superset import RERANK_PATHS
from shortlist.types import EmbedOutcome, EmbedTask, ScoreOutcome, ScoreTask, Vector


class RerankRequest(ScoreShape):
    """Score passages for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    items_field: ClassVar[str] = "passages"
    example: ClassVar[Json] = {"query": "red fox", "passages": ["a cat", "the red fox"]}

    query: Query
    passages: Documents

    @classmethod
    def is_meant(cls, seen: Seen) -> bool:
        """Tell by the field of the documents."""
        return "passages" in seen.body

    def task(self) -> ScoreTask:
        """Return what is asked for."""
        return ScoreTask(pairs=tuple((self.query, passage) for passage in self.passages))

    def answer(self, outcome: ScoreOutcome, stamp: Stamp) -> list[float]:
        """Return the scores."""
        del stamp
        return [scored.score for scored in outcome.scores]


class EmbedRequest(EmbedShape):
    """Turn texts into vectors."""

    paths: ClassVar[tuple[str, ...]] = ("/embedding",)
    items_field: ClassVar[str] = "texts"
    example: ClassVar[Json] = {"texts": ["first text", "second text"]}

    texts: Texts

    def task(self) -> EmbedTask:
        """Return what is asked for."""
        return EmbedTask(texts=tuple(self.texts))

    def answer(self, outcome: EmbedOutcome, stamp: Stamp) -> Sequence[Vector]:
        """Return the vectors."""
        del stamp
        return outcome.vectors


DIALECT: Final = Dialect(name="qanything", shapes=(RerankRequest, EmbedRequest))
