"""The encoder interface: texts in, prompts out.

An encoder handles a model's prompt template, tokenizer and length limit. It does not depend on engines, queues or clients.
Encoders run in a thread pool, so they must be thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shortlist.text.prompt import Parts
from shortlist.types import NO_TRUNCATION, Encoded, OverflowPolicy, Prompt, PromptTemplate, Token, Truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptView:
    """One prompt in readable form.

    Attributes:
        text: The whole prompt, including special tokens.
        parts: The prompt's parts in order, by name.
    """

    text: str
    parts: dict[str, list[TokenView]]


@dataclass(frozen=True, slots=True)
class TokenView:
    """One token: its id and its text."""

    id: int
    text: str


class Encoder(Protocol):
    """Encodes requests as prompts for one model."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that affects prompts: template, its version, tokenizer, length limit."""
        ...

    def template(self, instruction: str | None = None, preset: str | None = None) -> PromptTemplate:
        """Return the template for an instruction or preset; by default, the model's default instruction.

        Raises:
            InvalidInput: The model takes no instruction, the preset is unknown, or both are given.
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
        """Tokenize every document; all prompts share one prefix object.

        Args:
            query: The query.
            documents: The candidates.
            instruction: What counts as relevant; None means the model's default.
            on_overflow: How to handle a document that does not fit. Template, query and instruction are never truncated.
            truncation: Explicit token limits. They allow truncation even if `on_overflow` is an error.
            with_totals: Whether to count all tokens of truncated documents.

        Raises:
            InputTooLong: No document fits after query and instruction (`param="query"`), or a document does not fit and
                `on_overflow` is an error (`param="documents[i]"`).
            InvalidInput: The model takes no instruction.
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
        """Tokenize every text to embed, each as one prompt.

        Args:
            texts: The texts.
            is_query: Whether to apply the query template, for models that have one.
            instruction: The instruction in that template; implies `is_query`.
            truncate: Whether a text may be truncated to fit.
            truncate_prompt_tokens: Maximum prompt tokens, template included; allows truncation.

        Raises:
            InputTooLong: A text does not fit and `truncate` is false (`param="input[i]"`).
            InvalidInput: The model takes no instruction.
        """
        ...

    def view(self, shown: Prompt) -> PromptView:
        """Return one of this encoder's prompts in readable form."""
        ...

    def strip_template(self, query: str, document: str) -> Parts | None:
        """Return the parts of a pair that already has the template; None if it has none.

        Raises:
            InvalidInput: The pair has another template than the model's (`param="query"`).
        """
        ...

    def tokens(self, texts: Sequence[str], *, with_special: bool = True) -> list[list[Token]]:
        """Return all tokens of texts, without template.

        Args:
            texts: The texts. Special tokens in them are handled as in documents.
            with_special: Whether to add the special tokens that the tokenizer adds around a text.

        Raises:
            InvalidInput: The model has no usable tokenizer.
        """
        ...

    def text_of(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Return the text of token ids.

        Raises:
            InvalidInput: The tokenizer has no such id, or the model has no usable tokenizer.
        """
        ...
