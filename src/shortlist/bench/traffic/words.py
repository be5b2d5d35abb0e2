"""What is asked: requests of new text every time, written fast enough not to hold up whoever sends them.

Nobody's tokenizer is known here, so lengths are in words. Texts are dealt from short phrases of natural English, so that no two
are alike and no cache can help; unless some requests are to be asked again, for caches to show what they are worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Final

from shortlist.bench.texts import Request, sentences

PHRASE_WORDS: Final = 4
"""Words that stay together: few, so that even a query of three phrases is one of trillions."""

QUERY_WORDS: Final = 12
MAX_REMEMBERED: Final = 1000
"""Requests that may be asked again: enough for variety, few enough to fit into any cache worth measuring."""


@cache
def phrases() -> tuple[str, ...]:
    """Return phrases of exactly `PHRASE_WORDS` words, each once."""
    found = (
        " ".join(words[start : start + PHRASE_WORDS])
        for words in map(str.split, sentences())
        for start in range(0, len(words) - PHRASE_WORDS + 1, PHRASE_WORDS)
    )
    return tuple(dict.fromkeys(found))


class Traffic:
    """Writes one request after another. The same seed writes the same ones.

    Args:
        seed: What everything is drawn with.
        num_documents: Documents in a request.
        num_words: Words in a document.
        seen_share: Share of requests that are copies of earlier ones.
        stock: Phrases to write with.
    """

    def __init__(
        self, seed: str, *, num_documents: int, num_words: int, seen_share: float = 0.0, stock: Sequence[str] | None = None
    ) -> None:
        self._draw = Random(seed)  # noqa: S311 - no secret
        self._num_documents = num_documents
        self._num_words = num_words
        self._seen_share = seen_share
        self._stock = stock or phrases()
        self._remembered: list[Request] = []

    def next(self) -> Request:
        """Return what to ask next."""
        if not self._seen_share:
            return self._written()
        if self._remembered and self._draw.random() < self._seen_share:
            return self._draw.choice(self._remembered)
        request = self._written()
        if len(self._remembered) < MAX_REMEMBERED:
            self._remembered.append(request)
        else:
            self._remembered[self._draw.randrange(MAX_REMEMBERED)] = request
        return request

    def _written(self) -> Request:
        return Request(self._text(QUERY_WORDS), tuple(self._text(self._num_words) for _ in range(self._num_documents)))

    def _text(self, num_words: int) -> str:
        whole, rest = divmod(num_words, PHRASE_WORDS)
        parts = self._draw.choices(self._stock, k=whole)
        if rest:
            parts.append(" ".join(self._draw.choice(self._stock).split()[:rest]))
        return " ".join(parts)
