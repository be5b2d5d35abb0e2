"""The contract of the text room: words in, prompts out.

An encoder knows a model's prompt frame, its tokenizer and how long a prompt may be. It knows nothing of engines, queues or
callers. Encoders are called from a thread pool, so they must be safe to call from several threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shortlist.types import Prompt


class Encoder(Protocol):
    """Spells requests as prompts for one model."""

    @property
    def fingerprint(self) -> str:
        """Names everything that turns the same words into other prompts: frame, its version, tokenizer, length limit."""
        ...

    def encode_pairs(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        truncate: bool = True,
        max_tokens_per_doc: int | None = None,
    ) -> list[Prompt]:
        """Return one prompt per document, all sharing one head object.

        Args:
            query: The query.
            documents: The candidates.
            instruction: What counts as relevant; None means the model's default.
            truncate: Whether a document may be cut at its end to fit; the frame, query and instruction never are.
            max_tokens_per_doc: Cut every document to this many of its own tokens.

        Raises:
            InputTooLong: query and instruction leave no room for any document (`param="query"`), or a document does not fit
                and `truncate` is false (`param="documents[i]"`).
            InvalidInput: this model takes no instruction.
        """
        ...

    def encode_texts(
        self, texts: Sequence[str], *, is_query: bool = False, instruction: str | None = None, truncate: bool = True
    ) -> list[Prompt]:
        """Return one prompt per text to embed.

        Args:
            texts: The texts.
            is_query: Whether to put the query frame before each text, for models that have one.
            instruction: The instruction inside that frame; setting it implies `is_query`.
            truncate: Whether a text may be cut at its end to fit.

        Raises:
            InputTooLong: a text does not fit and `truncate` is false (`param="input[i]"`).
            InvalidInput: this model takes no instruction.
        """
        ...
