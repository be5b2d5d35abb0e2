"""The official prompt of Qwen3-Reranker as text, or as token ids, for peers without it.

A contender runs in its own environment and cannot import the package, so these lines are duplicated here.

Source: the transformers example on the model card.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

PREFIX: Final = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX: Final = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION: Final = "Given a web search query, retrieve relevant passages that answer the query"
MAX_LENGTH: Final = 8192
YES: Final = "yes"
NO: Final = "no"


def body(query: str, document: str) -> str:
    """Return the text between prefix and suffix."""
    return f"<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {document}"


class Tokens:
    """Tokenizes prompts. As in the model card, only the body is truncated, at its end."""

    def __init__(self, folder: Path, max_length: int = MAX_LENGTH) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._prefix, self._suffix = (self._encode([text])[0] for text in (PREFIX, SUFFIX))
        self._max_body_tokens = max_length - len(self._prefix) - len(self._suffix)

    def prompts(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        """Return the ids of one prompt per document."""
        bodies = self._encode([body(query, document) for document in documents])
        return [self._prefix + ids[: self._max_body_tokens] + self._suffix for ids in bodies]

    def id_of(self, word: str) -> int:
        """Return the token id of a word.

        Raises:
            ValueError: the word is not one token of the vocabulary.
        """
        token_id: int | None = self._tokenizer.token_to_id(word)
        if token_id is None:
            raise ValueError(f"the tokenizer has no token {word!r}")
        return token_id

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
