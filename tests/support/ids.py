"""An encoder that writes bytes as token ids: every text has a score of its own, and an engine can read what it is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shortlist.types import Ids, Prompt, TokenHead, TokenPrompt


class ByteEncoder:
    """Implements `text.base.Encoder`."""

    fingerprint = "bytes"

    def encode_pairs(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        truncate: bool = True,
        max_tokens_per_doc: int | None = None,
    ) -> list[Prompt]:
        head = TokenHead(_ids(f"{instruction}\0{query}"))
        return [TokenPrompt(head, _ids(document)) for document in documents]

    def encode_texts(
        self, texts: Sequence[str], *, is_query: bool = False, instruction: str | None = None, truncate: bool = True
    ) -> list[Prompt]:
        head = TokenHead(_ids(f"{instruction}\0{is_query}"))
        return [TokenPrompt(head, _ids(text)) for text in texts]


def text_of(prompt: Prompt) -> str:
    """Return the text that a prompt of this encoder was made from."""
    assert isinstance(prompt, TokenPrompt)
    return bytes(prompt.ids.astype(np.uint8)).decode()


def _ids(text: str) -> Ids:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
