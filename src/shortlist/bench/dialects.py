"""Request and response formats of the benchmarked APIs. Pure: a new dialect is a new entry in `DIALECTS`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shortlist.bench.texts import LoadRequest
from shortlist.errors import BadSetting, UpstreamError

Numbers = Sequence[Sequence[float]]
"""One row per document, in request order: its score, or its vector."""


@dataclass(frozen=True, slots=True)
class LoadDialect:
    """Field names of one kind of request and its response."""

    name: str
    speakers: str  # servers that speak it, for display
    path: str
    documents: str = "documents"  # the key of the documents
    number: str = "relevance_score"  # the key of a document's score or vector
    query: str | None = "query"  # the key of the query; None where texts are embedded
    results: str | None = "results"  # the key of the list of results; None where the answer is that list
    extra: Mapping[str, object] = field(default_factory=dict)  # further fields of the body

    def write(self, request: LoadRequest, model: str | None) -> bytes:
        """Return the request body."""
        model_field = {"model": model} if model else {}
        query_field = {self.query: request.query} if self.query else {}
        return orjson.dumps({**model_field, **query_field, self.documents: request.documents, **self.extra})

    def read(self, answer: bytes, num_documents: int) -> Numbers:
        """Return the numbers of every document.

        Raises:
            UpstreamError: the answer does not have finite numbers for each document exactly once.
        """
        try:
            rows = list(self._rows(orjson.loads(answer)))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise _unreadable(f"it is not a {self.name!r} response") from None
        row_by_index = dict(rows)
        if len(rows) != num_documents or row_by_index.keys() != set(range(num_documents)):
            raise _unreadable(f"it has numbers for {len(row_by_index)} of {num_documents} documents")
        if not all(math.isfinite(number) for row in row_by_index.values() for number in row):
            raise _unreadable("a number in it is not finite")
        return [row_by_index[index] for index in range(num_documents)]

    def _rows(self, answer: Any) -> Iterator[tuple[int, tuple[float, ...]]]:
        results = answer[self.results] if self.results else answer
        if not isinstance(results, list):
            raise TypeError
        for result in results:
            index, value = result["index"], result[self.number]
            numbers = value if isinstance(value, list) else [value]
            if type(index) is not int or any(
                type(number) not in {int, float} for number in numbers
            ):  # bool is a subclass of int
                raise TypeError
            yield index, tuple(map(float, numbers))


DIALECTS: Final[Mapping[str, LoadDialect]] = {
    dialect.name: dialect
    for dialect in (
        LoadDialect(
            "rerank", "Shortlist, Jina, vLLM, Xinference, SiliconFlow", "/v1/rerank", extra={"return_documents": False}
        ),
        # Source: docs.cohere.com; version 2 refuses unknown fields such as return_documents.
        LoadDialect("cohere", "Cohere", "/v2/rerank"),
        LoadDialect("infinity", "Infinity", "/rerank"),
        LoadDialect("tei", "Text Embeddings Inference", "/rerank", "texts", "score", results=None, extra={"truncate": True}),
        LoadDialect("score", "vLLM's scores", "/score", "text_2", "score", query="text_1", results="data"),
        LoadDialect(
            "openai",
            "embeddings: Shortlist, OpenAI, vLLM, TEI",
            "/v1/embeddings",
            "input",
            "embedding",
            query=None,
            results="data",
            extra={"encoding_format": "float"},
        ),
    )
}
DEFAULT: Final = "rerank"


def named(name: str) -> LoadDialect:
    """Return the dialect of this name.

    Raises:
        BadSetting: the dialect is unknown.
    """
    if name not in DIALECTS:
        raise BadSetting(f"There is no dialect {name!r} (--dialect); there are {', '.join(DIALECTS)}.")
    return DIALECTS[name]


def apart(one: Numbers, other: Numbers) -> float:
    """Return the largest difference between two answers to the same request."""
    return max(abs(a - b) for row, row_too in zip(one, other, strict=True) for a, b in zip(row, row_too, strict=True))


def _unreadable(why: str) -> UpstreamError:
    return UpstreamError(f"The answer cannot be used: {why}.", is_retryable=False)
