"""Ollama's embeddings, and the rerank in its style that several tools have added: documents come back as plain strings.

Sources: Ollama's API documentation, "Generate Embeddings"; Dify's Ollama plugin for `/api/rerank`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from typing_extensions import TypedDict

from shortlist.api.dialects.dialect import Dialect, EmbedModel, ErrorInfo, Json, RerankModel, ResponseMeta
from shortlist.schemas.embed import VectorField
from shortlist.schemas.fields import Count, Documents, Query, RequestFields, Texts
from shortlist.types import EmbedOutcome, EmbedTask, RerankOutcome, RerankTask


class OllamaDocument(TypedDict):
    """A ranked document."""

    index: int
    relevance_score: float
    document: str


class OllamaRanking(TypedDict):
    """The ranking, best first."""

    model: str
    results: list[OllamaDocument]


class OllamaEmbeddings(TypedDict):
    """One vector per text."""

    model: str
    embeddings: Sequence[VectorField]
    prompt_eval_count: int


class OllamaOptions(RequestFields):
    """The options of a model, of which embedding follows one."""

    num_ctx: Count = None


NOTED: Final = frozenset({"keep_alive"})
"""How long a model stays loaded: here until the server ends."""


class OllamaRerankRequest(RerankModel):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = ("/api/rerank",)
    noted: ClassVar[frozenset[str]] = NOTED | {"options"}
    example: ClassVar[Json] = {"query": "red fox", "documents": ["a cat", "the red fox"], "top_n": 1}

    model: str | None = None
    query: Query
    documents: Documents
    top_n: Count = None

    def task(self) -> RerankTask:
        """Return the task."""
        return RerankTask(query=self.query, documents=tuple(self.documents), model=self.model, top_n=self.top_n or None)

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> OllamaRanking:
        """Return the ranking."""
        del meta
        results: list[OllamaDocument] = [
            {"index": ranked.index, "relevance_score": ranked.score, "document": self.documents[ranked.index]}
            for ranked in outcome.results
        ]
        return {"model": self.model or outcome.model, "results": results}


class OllamaEmbedRequest(EmbedModel):
    """Embed texts."""

    paths: ClassVar[tuple[str, ...]] = ("/api/embed",)
    items_field: ClassVar[str] = "input"
    noted: ClassVar[frozenset[str]] = NOTED
    example: ClassVar[Json] = {"input": ["first text", "second text"]}

    model: str | None = None
    input: Texts
    truncate: bool | None = None
    dimensions: Count = None
    options: OllamaOptions | None = None

    def task(self) -> EmbedTask:
        """Return the task."""
        return EmbedTask(
            texts=tuple(self.input),
            model=self.model,
            dimensions=self.dimensions or None,
            truncate=self.truncate is not False,
            max_tokens=self.options.num_ctx or None if self.options else None,
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> OllamaEmbeddings:
        """Return the vectors."""
        del meta
        return {
            "model": self.model or outcome.model,
            "embeddings": outcome.vectors,
            "prompt_eval_count": outcome.usage.num_tokens,
        }


class OllamaEmbedding(TypedDict):
    """The vector of one text, of the model's own length."""

    embedding: VectorField


class OllamaEmbeddingRequest(EmbedModel):
    """Embed one text, as clients did before `/api/embed`."""

    paths: ClassVar[tuple[str, ...]] = ("/api/embeddings",)
    items_field: ClassVar[str] = "prompt"
    noted: ClassVar[frozenset[str]] = NOTED
    example: ClassVar[Json] = {"prompt": "a text"}

    model: str | None = None
    prompt: str
    options: OllamaOptions | None = None

    @property
    def num_items(self) -> int:
        """The number of texts."""
        return 1

    def task(self) -> EmbedTask:
        """Return the task."""
        most = self.options.num_ctx or None if self.options else None
        return EmbedTask(texts=(self.prompt,), model=self.model, normalize=False, max_tokens=most)

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> OllamaEmbedding:
        """Return the vector."""
        del meta
        return {"embedding": outcome.vectors[0]}


class OllamaError(TypedDict):
    """Ollama's error: one sentence."""

    error: str


def _error_body(error: ErrorInfo) -> tuple[int, OllamaError]:
    return error.status, {"error": error.message}


DIALECT: Final = Dialect(
    name="ollama",
    request_models=(OllamaRerankRequest, OllamaEmbedRequest, OllamaEmbeddingRequest),
    error_body=_error_body,
)
