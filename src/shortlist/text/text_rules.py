"""How a model that tokenizes itself reads texts and pairs: its tokens, prompts and limits, and what is kept of a long text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shortlist.text.model_prompts import NO_PROMPTS, Prompts
from shortlist.text.reading import LOOKAHEAD_CHARS, ReadLength
from shortlist.types import NO_TRUNCATION, InputType, OverflowPolicy, Truncation

BYTES_PER_TOKEN: Final = 4
"""A guess for models without a fast tokenizer; it only steers scheduling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """How a loaded model reads texts.

    Attributes:
        tokenizer: Its tokenizer, as the content of a `tokenizer.json`; empty without a fast one.
        reads_pairs: Whether it reads query and document as one text, as cross-encoders do.
        num_special: Tokens that it adds to a text or pair (special tokens, a chat template); None for those of the tokenizer.
        truncates: Whether a text or pair that is too long may be left to it. Not with a chat template, which it would truncate.
        prompts: Its prompts; for a cross-encoder that before the query.
        limits: Its token limits for some types of texts, besides its limit for all.
    """

    tokenizer: bytes
    reads_pairs: bool
    num_special: int | None = None
    truncates: bool = True
    prompts: Prompts = NO_PROMPTS
    limits: Mapping[InputType, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WantedPairs:
    """What the caller of `encode_pairs` asks for."""

    on_overflow: OverflowPolicy
    truncation: Truncation
    with_totals: bool

    @property
    def has_limits(self) -> bool:
        """Whether the caller sets token limits."""
        return self.truncation != NO_TRUNCATION


@dataclass(frozen=True, slots=True)
class ReadText:
    """A text with its prompt, and how much of both is read; without a length for want of a tokenizer."""

    prompt: str
    text: str
    length: ReadLength | None

    @property
    def num_tokens(self) -> int:
        """The tokens that are read; an estimate without a length."""
        return self.length.num_tokens if self.length else len((self.prompt + self.text).encode()) // BYTES_PER_TOKEN + 1

    @property
    def is_cut(self) -> bool:
        """Whether the text goes on; False without a length."""
        return self.length is not None and self.length.is_cut

    def kept(self, *, is_exact: bool) -> str:
        """Return the text that is read; if it need not be exact, with enough after it for the model to truncate as it does."""
        if self.length is None:
            return self.text
        end = max(0, self.length.end - len(self.prompt))
        return self.text[: end if is_exact else end + LOOKAHEAD_CHARS]


def longest_first(num_query: int, num_document: int, space: int) -> tuple[int, int]:
    """Return the tokens of query and document that are kept.

    Source: `TruncationStrategy::LongestFirst` in tokenizers: the longer text is truncated first; if both have more than half,
    each keeps half, and the longer one the odd token.
    """
    if num_query + num_document <= space:
        return num_query, num_document
    half = space // 2
    if num_query <= half:
        return num_query, space - num_query
    if num_document <= half:
        return space - num_document, num_document
    return (space - half, half) if num_query > num_document else (half, space - half)
