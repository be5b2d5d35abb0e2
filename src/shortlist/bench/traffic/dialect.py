"""How a server is asked, and where its numbers are. Pure: another dialect is another line in the table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from shortlist.bench.texts import Request
from shortlist.errors import BadSetting, UpstreamError

Numbers = Sequence[Sequence[float]]
"""One row per document, in the order of the request: its score alone, or its vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The shape of one kind of request and of its answer.

    Attributes:
        name: What it is called on the command line.
        speakers: Who speaks it, for people.
        path: Where to post.
        documents: The key of the documents.
        number: The key of a document's score or vector.
        query: The key of the query; None where texts are embedded and nothing is asked.
        results: The key of the list of results; None where the answer is that list.
        extra: What else to say.
    """

    name: str
    speakers: str
    path: str
    documents: str
    number: str
    query: str | None = "query"
    results: str | None = "results"
    extra: Mapping[str, object] = field(default_factory=dict)

    def write(self, request: Request, model: str | None) -> bytes:
        """Return the body that asks for this."""
        body: dict[str, object] = {"model": model} if model else {}
        if self.query:
            body[self.query] = request.query
        return orjson.dumps({**body, self.documents: request.documents, **self.extra})

    def read(self, answer: bytes, num_documents: int) -> Numbers:
        """Return the numbers of every document.

        Raises:
            UpstreamError: the answer does not have finite ones for each of them, once.
        """
        try:
            rows = list(self._rows(orjson.loads(answer)))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise _unreadable(f"it is not what the dialect {self.name!r} answers") from None
        found = dict(rows)
        if len(rows) != num_documents or found.keys() != set(range(num_documents)):
            raise _unreadable(f"it has numbers for {len(found)} of {num_documents} documents")
        if not all(math.isfinite(number) for row in found.values() for number in row):
            raise _unreadable("a number in it is not finite")
        return [found[index] for index in range(num_documents)]

    def _rows(self, answer: object) -> Iterator[tuple[int, tuple[float, ...]]]:
        results = _mapping(answer)[self.results] if self.results else answer
        if not isinstance(results, list):
            raise TypeError
        for result in map(_mapping, results):
            found = result[self.number]
            yield _integer(result["index"]), tuple(map(_number, found if isinstance(found, list) else [found]))


DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            name="rerank",
            speakers="Shortlist, Jina, vLLM, Xinference, SiliconFlow",
            path="/v1/rerank",
            documents="documents",
            number="relevance_score",
            extra={"return_documents": False},
        ),
        # Source: docs.cohere.com; version 2 refuses what it does not know, return_documents among it.
        Dialect(name="cohere", speakers="Cohere", path="/v2/rerank", documents="documents", number="relevance_score"),
        Dialect(name="infinity", speakers="Infinity", path="/rerank", documents="documents", number="relevance_score"),
        Dialect(
            name="tei",
            speakers="Text Embeddings Inference",
            path="/rerank",
            documents="texts",
            number="score",
            results=None,
            extra={"truncate": True},
        ),
        Dialect(
            name="score",
            speakers="vLLM's scores",
            path="/score",
            query="text_1",
            documents="text_2",
            number="score",
            results="data",
        ),
        Dialect(
            name="openai",
            speakers="embeddings: Shortlist, OpenAI, vLLM, TEI",
            path="/v1/embeddings",
            query=None,
            documents="input",
            number="embedding",
            results="data",
            extra={"encoding_format": "float"},
        ),
    )
}
DEFAULT: Final = "rerank"


def named(name: str) -> Dialect:
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


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError
    return float(value)


def _unreadable(why: str) -> UpstreamError:
    return UpstreamError(f"The answer cannot be used: {why}.", is_retryable=False)
