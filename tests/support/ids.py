"""An encoder that writes bytes as token ids: every text has a score of its own, and an engine can read what it is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shortlist.text.encoder import Parts, PromptView, TemplateIds
from shortlist.types import (
    NO_TRUNCATION,
    Encoded,
    Ids,
    InputType,
    OverflowPolicy,
    Prompt,
    PromptTemplate,
    Token,
    TokenPrefix,
    TokenPrompt,
    Truncation,
)


class ByteEncoder:
    """Implements `text.encoder.Encoder`."""

    fingerprint = "bytes"
    template_ids: TemplateIds | None = None

    def template(self, instruction: str | None = None, preset: str | None = None) -> PromptTemplate:
        return PromptTemplate(name="bytes/1", preset=preset or "none", instruction=instruction)

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
        return _encoded(TokenPrefix(_ids(f"{instruction}\0{query}")), documents)

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
        return _encoded(TokenPrefix(_ids(f"{instruction}\0{input_type}\0{prompt_name}")), texts)

    def strip_template(self, query: str, document: str) -> Parts | None:
        del query, document
        return None

    def tokens(self, texts: Sequence[str], *, with_special: bool = True) -> list[list[Token]]:
        del with_special
        return [[Token(byte, chr(byte), is_special=False, span=None) for byte in text.encode()] for text in texts]

    def text_of(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        del skip_special
        return bytes(ids).decode()

    def view(self, shown: Prompt) -> PromptView:
        return PromptView(text=text_of(shown), parts={})


def _encoded(prefix: TokenPrefix, texts: Sequence[str]) -> list[Encoded]:
    prompts = [TokenPrompt(prefix, _ids(text)) for text in texts]
    return [Encoded(prompts=(each,), num_tokens=each.num_own_tokens, num_tokens_total=each.num_own_tokens) for each in prompts]


def text_of(prompt: Prompt) -> str:
    """Return the text that a prompt of this encoder was made from."""
    assert isinstance(prompt, TokenPrompt)
    return bytes(prompt.ids.astype(np.uint8)).decode()


def _ids(text: str) -> Ids:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
