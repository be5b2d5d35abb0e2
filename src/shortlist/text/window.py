"""Splits a long text into overlapping windows; each equals the truncation of the remaining text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from tokenizers import Encoding

from shortlist.types import Ids, Span

OVERLAP: Final = 8
"""Neighbours share one part in this many, so that a passage at a cut is whole in one of them."""

CHARS_PER_TOKEN: Final = 8
GROWTH: Final = 4
MAX_CHARS: Final = 1 << 18
"""Of a text with fewer tokens than fit, at most this much is read at once: only white space and the like has so few."""
MARGIN_CHARS: Final = 64
"""More than the longest added token, so that one cut in half lies inside the margin."""
MARGIN_WORDS: Final = 2
"""Words before the margin that what follows can still change: a run of white space is split in two by a newline further
on, and a letter composes with a mark that comes after a run of others."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A part of a text, and its token ids.

    Shapes:
        ids: [num_tokens] int32.
    """

    ids: Ids
    span: Span


def read_windows(encode: Callable[[str], Encoding], text: str, size: int, *, lead: str = "") -> Iterator[Window]:
    """Yield windows of at most `size` tokens that cover the text from its start to its end.

    Args:
        encode: Tokenizes, with offsets.
        text: The whole text.
        size: Tokens in a window.
        lead: Prefix that is tokenized with each window's text.
    """
    start = 0
    while True:
        encoding, read = _enough(encode, text, start, size, lead)
        is_last = read == len(text) and len(encoding) <= size
        end = read if len(encoding) <= size else start + max(0, encoding.offsets[size - 1][1] - len(lead))
        yield Window(np.asarray(encoding.ids[:size], dtype=np.int32), Span(start, end))
        if is_last:
            return
        start = end if len(encoding) <= size else _next_start(encoding, text, Span(start, end), size, lead)


def num_settled(encoding: Encoding, num_chars: int) -> int:
    """Return the number of leading tokens that do not depend on what follows the text."""
    ends = np.asarray([end for _, end in encoding.offsets])
    words = np.asarray(encoding.word_ids)
    in_margin = np.flatnonzero(ends > num_chars - MARGIN_CHARS)
    if not len(in_margin):
        return 0
    return int(np.searchsorted(words, words[in_margin[0]] - MARGIN_WORDS))


def _enough(encode: Callable[[str], Encoding], text: str, start: int, size: int, lead: str) -> tuple[Encoding, int]:
    """Tokenize from `start` until `size` tokens are certain, or as far as `MAX_CHARS`; return the position behind them."""
    num_chars = size * CHARS_PER_TOKEN + 2 * MARGIN_CHARS
    while True:
        part = lead + text[start : start + num_chars]
        end = min(start + num_chars, len(text))
        encoding = encode(part)
        if end == len(text) or num_settled(encoding, len(part)) > size or num_chars >= MAX_CHARS:
            return encoding, end
        num_chars *= GROWTH


def _next_start(encoding: Encoding, text: str, window: Span, size: int, lead: str) -> int:
    """Return the start of the next window: at a word start inside the overlap if there is one, always later than this one."""
    shared = range(max(1, size - size // OVERLAP), size)
    words = encoding.word_ids
    token = next((i for i in shared if words[i] != words[i - 1]), size - len(shared))
    begin = window.start + encoding.offsets[min(token, size - 1)][0] - len(lead) if shared else window.end
    while begin < window.end and text[begin].isspace():
        begin += 1
    return max(begin, window.start + 1)
