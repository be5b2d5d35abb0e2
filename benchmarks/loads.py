"""What contenders are asked: loads by name, and requests of fresh natural text whose tokens are counted exactly.

Pure apart from reading the corpus: the same seed writes the same request.
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
_NEAR: Final = (0, 1, -1, 2, -2, 3, -3)
"""Where else to cut when a cut at the wanted token does not spell the wanted number: a word cut in half spells differently."""


@dataclass(frozen=True, slots=True)
class BenchLoad:
    """A kind of request.

    Attributes:
        name: As it was asked for: 10x100, or mixed.
        num_documents: Documents in one request.
        doc_tokens: Tokens of every document; None draws each from a log-normal distribution.
    """

    name: str
    num_documents: int
    doc_tokens: int | None

    @classmethod
    def parse(cls, text: str) -> BenchLoad:
        """Return the load of this name.

        Raises:
            BadSetting: it is neither DOCUMENTSxTOKENS nor mixed.
        """
        if text == MIXED:
            return cls(text, MIXED_DOCUMENTS, None)
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            raise BadSetting(f"The load {text!r} (--load) must be DOCUMENTSxTOKENS, such as 10x100, or {MIXED}.")
        return cls(text, int(shape[1]), int(shape[2]))

    def lengths(self, draw: Random) -> list[int]:
        """Return how many tokens each document of the next request has."""
        if self.doc_tokens is not None:
            return [self.doc_tokens] * self.num_documents
        drawn = (draw.lognormvariate(log(MIXED_MEDIAN), MIXED_SIGMA) for _ in range(self.num_documents))
        return [min(max(round(length), MIXED_SHORTEST), MIXED_LONGEST) for length in drawn]


DEFAULT_LOADS: Final = ("10x100", "30x200", "10x500", "1x4000", MIXED)
GPU_LOADS: Final = ("10x100", "100x300", "20x2000", "1x32000")


class RequestWriter:
    """Writes requests from a stock of sentences.

    Args:
        tokenizer: The model's own, which says what a token is.
        stock: Sentences; the documents of one request share none while there are enough.
    """

    def __init__(self, tokenizer: Tokenizer, stock: Sequence[str]) -> None:
        tokenizer.no_truncation()  # a file may ask for it
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._stock = stock

    def request(self, load: BenchLoad, seed: str) -> LoadRequest:
        """Return the request of this seed: other seeds get other words."""
        draw = Random(seed)
        deck = self._deal(draw)
        query = self.text(draw.randint(*QUERY_TOKENS), deck)
        return LoadRequest(query, tuple(self.text(length, deck) for length in load.lengths(draw)))

    def text(self, num_tokens: int, deck: Iterator[str]) -> str:
        """Return sentences from the deck, the last one cut, that have exactly this many tokens."""
        while True:
            cut = self._cut(self._enough(num_tokens, deck), num_tokens)
            if cut is not None:
                return cut

    def num_tokens(self, text: str) -> int:
        """Return how many tokens a text has by itself."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _deal(self, draw: Random) -> Iterator[str]:
        while True:
            yield from draw.sample(self._stock, len(self._stock))

    def _enough(self, num_tokens: int, deck: Iterator[str]) -> str:
        """Return more text than is wanted, so that there is something to cut."""
        parts: list[str] = []
        have = 0
        while have < num_tokens + max(_NEAR):
            parts.append(next(deck))
            have += self.num_tokens(f" {parts[-1]}")
        return " ".join(parts)

    def _cut(self, text: str, num_tokens: int) -> str | None:
        ends = [end for _, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]
        for step in _NEAR:
            cut = text[: ends[min(max(num_tokens + step, 1), len(ends)) - 1]]
            if self.num_tokens(cut) == num_tokens:
                return cut
        return None
