"""The contract of the text room: words in, prompts out.

An encoder knows a model's prompt frame, its tokenizer and how long a prompt may be. It knows nothing of engines, queues or
callers. Encoders are called from a thread pool, so they must be safe to call from several threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shortlist.text.prompt import Parts
from shortlist.types import NO_TRUNCATION, Encoded, OverflowPolicy, Prompt, PromptTemplate, Token, Truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptView:
    """One prompt as a person can check it.

    Attributes:
        text: All of it, control tokens written out.
        parts: The prompt's parts in order, by name.
    """

    text: str
    parts: dict[str, list[TokenView]]


@dataclass(frozen=True, slots=True)
class TokenView:
    """One token: its id and what it stands for."""

    id: int
    text: str


class Encoder(Protocol):
    """Spells requests as prompts for one model."""

    @property
    def fingerprint(self) -> str:
        """Names everything that turns the same words into other prompts: frame, its version, tokenizer, length limit."""
        ...

    def template(self, instruction: str | None = None, preset: str | None = None) -> PromptTemplate:
        """Return the frame for these wishes; without any, the model's default instruction.

        Raises:
            InvalidInput: this model takes no instruction, no preset is called so, or both were given.
        """
        ...

    def encode_pairs(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        on_overflow: OverflowPolicy = OverflowPolicy.TRUNCATE,
        truncation: Truncation = NO_TRUNCATION,
        with_totals: bool = False,
    ) -> list[Encoded]:
        """Spell every document; all prompts share one head object.

        Args:
            query: The query.
            documents: The candidates.
            instruction: What counts as relevant; None means the model's default.
            on_overflow: What becomes of a document that does not fit; frame, query and instruction are never cut.
            truncation: What is read of texts at most. Who sets them has allowed that cut, whatever `on_overflow` says of errors.
            with_totals: Whether to count all tokens of documents that are not read to their end.

        Raises:
            InputTooLong: query and instruction leave no room for any document (`param="query"`), or a document does not fit
                and that is an error (`param="documents[i]"`).
            InvalidInput: this model takes no instruction.
        """
        ...

    def encode_texts(
        self,
        texts: Sequence[str],
        *,
        is_query: bool = False,
        instruction: str | None = None,
        truncate: bool = True,
        truncate_prompt_tokens: int | None = None,
    ) -> list[Encoded]:
        """Spell every text to embed, each as one prompt.

        Args:
            texts: The texts.
            is_query: Whether to put the query frame before each text, for models that have one.
            instruction: The instruction inside that frame; setting it implies `is_query`.
            truncate: Whether a text may be cut at its end to fit.
            truncate_prompt_tokens: Read this many tokens at most, frame included; allows that cut.

        Raises:
            InputTooLong: a text does not fit and `truncate` is false (`param="input[i]"`).
            InvalidInput: this model takes no instruction.
        """
        ...

    def view(self, shown: Prompt) -> PromptView:
        """Return one of this encoder's prompts as a person can check it."""
        ...

    def strip_template(self, query: str, document: str) -> Parts | None:
        """Return the caller's words in a pair that its caller framed already; None if it did not.

        Raises:
            InvalidInput: it is framed, and not as this model was trained (`param="query"`).
        """
        ...

    def tokens(self, texts: Sequence[str], *, with_special: bool = True) -> list[list[Token]]:
        """Return the tokens of texts by themselves, without any frame; all of them, however many.

        Args:
            texts: The texts. Control tokens written out in them are read as they are in documents.
            with_special: Whether to add what the tokenizer puts around a text of its own accord.

        Raises:
            InvalidInput: the model has no tokenizer that can be asked.
        """
        ...

    def text_of(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Return the text that token ids stand for.

        Raises:
            InvalidInput: the tokenizer has no such id, or the model has no tokenizer that can be asked.
        """
        ...
