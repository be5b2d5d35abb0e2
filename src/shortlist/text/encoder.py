"""The encoder interface: texts in, prompts out.

An encoder applies a model's prompt template, tokenizer and length limit. A thread pool calls it, so it must be thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shortlist.types import NO_TRUNCATION, Encoded, InputType, OverflowPolicy, Prompt, PromptTemplate, Token, Truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptView:
    """One prompt in readable form.

    Attributes:
        text: The whole prompt, special tokens included.
        parts: The prompt's parts in order, by name.
    """

    text: str
    parts: dict[str, list[TokenView]]


@dataclass(frozen=True, slots=True)
class TokenView:
    """One token: its id and text."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Parts:
    """The caller's texts in a templated pair."""

    instruction: str
    query: str
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateIds:
    """The token ids of the prompt template.

    Attributes:
        template_version: Version of the template text.
        prefix_ids: Start of every pair prompt; empty for an embedder.
        suffix_ids: End of every prompt.
        read_text: The last suffix token as text; the model output is taken there.
        answer_ids: The ids of "yes" and "no" for a reranker.
    """

    template_version: int
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    read_text: str
    answer_ids: tuple[int, int] | None


class Encoder(Protocol):
    """Turns texts into prompts for one model."""

    @property
    def fingerprint(self) -> str:
        """Identifies everything that determines a prompt besides the text: template, version, tokenizer, length limit."""
        ...

    @property
    def template_ids(self) -> TemplateIds | None:
        """The ids of the prompt template; None if the engine applies the template."""
        ...

    def template(self, instruction: str | None = None, preset: str | None = None) -> PromptTemplate:
        """Return the template for an instruction or preset; without either, with the model's default instruction.

        Raises:
            InvalidInput: the model takes no instruction, the preset is unknown, or both were given.
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
            instruction: Definition of relevance; None means the model's default.
            on_overflow: How to treat a document that does not fit. Template and instruction are never truncated, the query only
                if it leaves no tokens and may be.
            truncation: Token limits of the caller; they allow truncation even if `on_overflow` is ERROR.
            with_totals: Whether to count all tokens of truncated documents.

        Raises:
            InputTooLong: query and instruction leave no tokens for a document (`param="query"`), or a document does not fit
                and may not be truncated (`param="documents[i]"`).
            InvalidInput: this model takes no instruction.
        """
        ...

    def encode_texts(
        self,
        texts: Sequence[str],
        *,
        input_type: InputType = InputType.UNSTATED,
        prompt_name: str | None = None,
        instruction: str | None = None,
        truncate: bool = True,
        truncate_prompt_tokens: int | None = None,
    ) -> list[Encoded]:
        """Tokenize every text to embed, each as one prompt.

        Args:
            texts: The texts.
            input_type: What the texts are, which determines the model's prompt. A text that has one already gets none.
            prompt_name: Name of one of the model's prompts, instead of that for `input_type`; empty for none.
            instruction: The instruction in the template for queries, instead of the model's prompts.
            truncate: Whether a text may be truncated to fit.
            truncate_prompt_tokens: Token limit of the prompt including the template; allows truncation.

        Raises:
            InputTooLong: a text does not fit and `truncate` is false (`param="input[i]"`).
            InvalidInput: this model takes no instruction, or has no prompt of this name.
        """
        ...

    def view(self, shown: Prompt) -> PromptView:
        """Return one of this encoder's prompts in readable form."""
        ...

    def strip_template(self, query: str, document: str) -> Parts | None:
        """Return query, document and instruction of a pair that already has the template; None if it has none.

        Raises:
            InvalidInput: it has a template that is not this model's (`param="query"`).
        """
        ...

    def tokens(self, texts: Sequence[str], *, with_special: bool = True) -> list[list[Token]]:
        """Return all tokens of texts, without a template or limit.

        Args:
            texts: The texts. Special tokens in them are treated as in documents.
            with_special: Whether to add the tokenizer's own special tokens.

        Raises:
            InvalidInput: the model has no fast tokenizer.
        """
        ...

    def text_of(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Return the text of token ids.

        Raises:
            InvalidInput: an id is unknown, or the model has no fast tokenizer.
        """
        ...
