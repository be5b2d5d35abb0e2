"""Defines loads, and writes requests of natural text with an exact number of tokens.

Pure: the same seed gives the same request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from random import Random
from typing import Final

from tokenizers import Tokenizer

from shortlist.bench.texts import LoadRequest
from shortlist.errors import BadSetting

MIXED: Final = "mixed"
MIXED_DOCUMENTS: Final = 20
MIXED_MEDIAN: Final = 150
MIXED_SIGMA: Final = 0.8
MIXED_SHORTEST: Final = 20
MIXED_LONGEST: Final = 1500

QUERY_TOKENS: Final = (8, 20)
"""Shortest and longest query."""

_SHAPE: Final = re.compile(r"([1-9]\d*)x([1-9]\d*)")
_CUT_OFFSETS: Final = (0, 1, -1, 2, -2, 3, -3)
"""Offsets of other cuts, in tokens: a word cut in half tokenizes differently, so a cut may give another number of tokens."""


@dataclass(frozen=True, slots=True)
class BenchLoad:
    """The size of requests.

    Attributes:
        name: As given on the command line: 10x100, or mixed.
        num_documents: Documents in one request.
        doc_tokens: Tokens of every document; None draws each from a log-normal distribution.
    """

    name: str
    num_documents: int
    doc_tokens: int | None

    @classmethod
    def parse(cls, text: str) -> BenchLoad:
        """Parse the name of a load.

        Raises:
            BadSetting: the name is neither DOCUMENTSxTOKENS nor mixed.
        """
        if text == MIXED:
            return cls(text, MIXED_DOCUMENTS, None)
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            raise BadSetting(f"The load {text!r} (--load) must be DOCUMENTSxTOKENS, such as 10x100, or {MIXED}.")
        return cls(text, int(shape[1]), int(shape[2]))

    def lengths(self, rng: Random) -> list[int]:
        """Return the number of tokens of each document of the next request."""
        if self.doc_tokens is not None:
            return [self.doc_tokens] * self.num_documents
        drawn = (rng.lognormvariate(log(MIXED_MEDIAN), MIXED_SIGMA) for _ in range(self.num_documents))
        return [min(max(round(length), MIXED_SHORTEST), MIXED_LONGEST) for length in drawn]


DEFAULT_LOADS: Final = ("10x100", "30x200", "10x500", "1x4000", MIXED)
GPU_LOADS: Final = ("10x100", "100x300", "20x2000", "1x32000")


class RequestWriter:
    """Writes requests from a list of sentences.

    Args:
        tokenizer: The model's tokenizer.
        sentences: The sentences; the documents of a request share none until all are used.
    """

    def __init__(self, tokenizer: Tokenizer, sentences: Sequence[str]) -> None:
        tokenizer.no_truncation()  # a tokenizer file may enable it
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._sentences = sentences

    def request(self, load: BenchLoad, seed: str) -> LoadRequest:
        """Return the request of a seed; other seeds give other texts."""
        rng = Random(seed)
        deck = self._shuffled(rng)
        query = self.text(rng.randint(*QUERY_TOKENS), deck)
        return LoadRequest(query, tuple(self.text(length, deck) for length in load.lengths(rng)))

    def text(self, num_tokens: int, deck: Iterator[str]) -> str:
        """Return sentences from the deck with exactly this many tokens; the last sentence is cut."""
        while True:
            cut = self._cut(self._long_text(num_tokens, deck), num_tokens)
            if cut is not None:
                return cut

    def num_tokens(self, text: str) -> int:
        """Return the number of tokens of a text alone."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _shuffled(self, rng: Random) -> Iterator[str]:
        while True:
            yield from rng.sample(self._sentences, len(self._sentences))

    def _long_text(self, num_tokens: int, deck: Iterator[str]) -> str:
        """Return a text with more than this many tokens, to be cut."""
        parts: list[str] = []
        num_written = 0
        while num_written < num_tokens + max(_CUT_OFFSETS):
            parts.append(next(deck))
            num_written += self.num_tokens(f" {parts[-1]}")
        return " ".join(parts)

    def _cut(self, text: str, num_tokens: int) -> str | None:
        ends = [end for _, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]
        for offset in _CUT_OFFSETS:
            cut = text[: ends[min(max(num_tokens + offset, 1), len(ends)) - 1]]
            if self.num_tokens(cut) == num_tokens:
                return cut
        return None
