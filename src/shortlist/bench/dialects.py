"""Requests and answers of each dialect under load. Pure: another dialect is another line in the table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shortlist.bench.texts import LoadRequest
from shortlist.errors import BadSetting, UpstreamError

Numbers = Sequence[Sequence[float]]
"""One row per document, in the order of the request: its score alone, or its vector."""


@dataclass(frozen=True, slots=True)
class LoadDialect:
    """The form of one kind of request and of its answer."""

    name: str
    speakers: str  # for people
    path: str
    documents: str = "documents"  # the key of the documents
    number: str = "relevance_score"  # the key of a document's score or vector
    query: str | None = "query"  # the key of the query; None where texts are embedded
    results: str | None = "results"  # the key of the list of results; None where the answer is that list
    extra: Mapping[str, object] = field(default_factory=dict)  # further fields of the body

    def write(self, request: LoadRequest, model: str | None) -> bytes:
        """Return the body that asks for this."""
        named = {"model": model} if model else {}
        asked = {self.query: request.query} if self.query else {}
        return orjson.dumps({**named, **asked, self.documents: request.documents, **self.extra})

    def read(self, answer: bytes, num_documents: int) -> Numbers:
        """Return the numbers of every document.

        Raises:
            UpstreamError: the answer does not have finite ones for each of them, once.
        """
        try:
            rows = list(self._rows(orjson.loads(answer)))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise _unreadable(f"it is not what the dialect {self.name!r} answers") from None
        found = dict(rows)
        if len(rows) != num_documents or found.keys() != set(range(num_documents)):
            raise _unreadable(f"it has numbers for {len(found)} of {num_documents} documents")
        if not all(math.isfinite(number) for row in found.values() for number in row):
            raise _unreadable("a number in it is not finite")
        return [found[index] for index in range(num_documents)]

    def _rows(self, answer: Any) -> Iterator[tuple[int, tuple[float, ...]]]:
        results = answer[self.results] if self.results else answer
        if not isinstance(results, list):
            raise TypeError
        for result in results:
            index, found = result["index"], result[self.number]
            numbers = found if isinstance(found, list) else [found]
            if type(index) is not int or any(type(number) not in {int, float} for number in numbers):  # True is no number
                raise TypeError
            yield index, tuple(map(float, numbers))


DIALECTS: Final[Mapping[str, LoadDialect]] = {
    dialect.name: dialect
    for dialect in (
        LoadDialect(
            "rerank", "Shortlist, Jina, vLLM, Xinference, SiliconFlow", "/v1/rerank", extra={"return_documents": False}
        ),
        # Source: docs.cohere.com; version 2 refuses what it does not know, return_documents among it.
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
        BadSetting: there is none.
    """
    if name not in DIALECTS:
        raise BadSetting(f"There is no dialect {name!r} (--dialect); there are {', '.join(DIALECTS)}.")
    return DIALECTS[name]


def apart(one: Numbers, other: Numbers) -> float:
    """Return the largest difference between two answers to the same request."""
    return max(abs(a - b) for row, row_too in zip(one, other, strict=True) for a, b in zip(row, row_too, strict=True))


def _unreadable(why: str) -> UpstreamError:
    return UpstreamError(f"The answer cannot be used: {why}.", is_retryable=False)
