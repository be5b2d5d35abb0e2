"""Reads only as much of a text as a model can process, in pieces, so that tokenizing costs what is read and can be stopped.

A tokenizer needs over a hundred bytes of memory for every character, and no Python thread can interrupt it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, TypeVar

from tokenizers import Encoding

from shortlist.errors import DeadlineExceeded, EngineError, InputTooLong, ServiceError
from shortlist.text.window import CHARS_PER_TOKEN, MARGIN_CHARS, MAX_CHARS, Window
from shortlist.types import Encoded

PIECE_CHARS: Final = 1 << 15
"""Characters of a text that are tokenized at once."""

GROUP_CHARS: Final = 1 << 20
"""Characters of several texts that are tokenized at once."""

TOTAL_CHARS: Final = 1 << 18
"""Longer texts are not counted whole when their totals are requested."""

MAX_WINDOWS: Final = 256
"""Most windows of one text."""

LOOKAHEAD_CHARS: Final = 4 * MARGIN_CHARS
"""A token that ends this far before the end of a piece does not depend on what follows. More than the longest word."""

stop: Final[ContextVar[threading.Event | None]] = ContextVar("stop", default=None)
"""Set when the tokens are no longer needed."""

ReadT = TypeVar("ReadT")

EncodeBatch = Callable[[Sequence[str]], Sequence[Encoding]]


@dataclass(frozen=True, slots=True)
class ReadLength:
    """How much of a text is read.

    Attributes:
        end: Position behind the last character that is read.
        num_tokens: Tokens up to there.
        is_cut: Whether the text goes on.
    """

    end: int
    num_tokens: int
    is_cut: bool


def check_wanted() -> None:
    """Stop if the tokens are no longer needed.

    Raises:
        DeadlineExceeded: the caller is gone or its deadline has passed; it gets another error.
    """
    event = stop.get()
    if event is not None and event.is_set():
        raise DeadlineExceeded("The result is no longer needed.")


def each_read(read: Callable[[Sequence[str]], Sequence[ReadT]], texts: Sequence[str]) -> Iterator[ReadT | ServiceError]:
    """Yield what is read from every text, or the error of a text on which the tokenizer panics.

    Source: pyo3, `PanicException`, which is no `Exception`.
    """
    try:
        found = read(texts)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
    else:
        yield from found
        return
    if len(texts) == 1:
        yield EngineError("The tokenizer failed on this text.")
    else:
        yield from chain.from_iterable(each_read(read, [text]) for text in texts)


def failed(error: ServiceError) -> Encoded:
    """Return a text that has an error instead of prompts."""
    return Encoded(prompts=(), num_tokens=0, num_tokens_total=None, error=error)


def at_most(windows: Iterator[Window], param: str) -> list[Window]:
    """Return the windows of a text.

    Raises:
        InputTooLong: there are more than `MAX_WINDOWS`; each costs a whole prompt.
        DeadlineExceeded: they are no longer needed.
    """
    found = []
    for window in islice(windows, MAX_WINDOWS + 1):
        check_wanted()
        found.append(window)
    if len(found) > MAX_WINDOWS:
        raise InputTooLong(f"{param} has more than {MAX_WINDOWS} windows; use longer ones, or truncate it.", param=param)
    return found


def in_groups(texts: Sequence[str], most_chars: int = GROUP_CHARS) -> Iterator[Sequence[str]]:
    """Yield texts in order, as many at a time as have `most_chars`, at least one; stop if they are not wanted any more."""
    start = num_chars = 0
    for index, text in enumerate(texts):
        if index > start and num_chars + len(text) > most_chars:
            yield texts[start:index]
            check_wanted()
            start, num_chars = index, 0
        num_chars += len(text)
    if start < len(texts):
        yield texts[start:]


def read_lengths(encode: EncodeBatch, texts: Sequence[str], limit: int) -> list[ReadLength]:
    """Return how much of every text `limit` tokens are."""
    num_chars = limit * CHARS_PER_TOKEN + LOOKAHEAD_CHARS
    found: list[ReadLength] = []
    for group in in_groups([text[:num_chars] for text in texts]):
        own = texts[len(found) : len(found) + len(group)]
        for text, encoding in zip(own, encode(group), strict=True):
            first = _read(encoding, 0, min(num_chars, len(text)), len(text), limit)
            found.append(first or _read_length(encode, text, limit))
    return found


def _read_length(encode: EncodeBatch, text: str, limit: int) -> ReadLength:
    """Read piece by piece until there are `limit` tokens."""
    start = num_tokens = 0
    most = min(len(text), max(MAX_CHARS, limit * CHARS_PER_TOKEN))
    while start < most:
        check_wanted()
        end = _piece_end(text, start, most)
        [encoding] = encode([text[start:end]])
        if num_tokens + len(encoding) > limit:
            while (found := _read(encoding, start, end, len(text), limit - num_tokens)) is None:
                end = min(end + PIECE_CHARS, len(text))
                [encoding] = encode([text[start:end]])
            return ReadLength(found.end, num_tokens + found.num_tokens, is_cut=True)
        start, num_tokens = end, num_tokens + len(encoding)
    return ReadLength(start, num_tokens, is_cut=start < len(text))


def _read(encoding: Encoding, start: int, end: int, num_chars: int, limit: int) -> ReadLength | None:
    """Return the length of the first `limit` tokens, or None if the next characters can change it."""
    if end == num_chars and len(encoding) <= limit:
        return ReadLength(end, len(encoding), is_cut=False)
    if len(encoding) <= limit:
        return None
    last = start + encoding.offsets[limit - 1][1]
    return ReadLength(last, limit, is_cut=True) if end == num_chars or last <= end - LOOKAHEAD_CHARS else None


def _piece_end(text: str, start: int, most: int) -> int:
    """Return the end of a piece: where a word begins, if one does near the usual length."""
    end = min(start + PIECE_CHARS, most)
    if end == most:
        return end
    gap = text.rfind(" ", end - LOOKAHEAD_CHARS, end)
    return end if gap <= start else gap
