"""The official prompt of Qwen3-Reranker, for peers that do not carry it: as text, or as ids of the folder's own tokenizer.

A contender has an environment of its own and cannot import the package, so the few lines are here once more.
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
    """Return what stands between prefix and suffix."""
    return f"<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {document}"


class Tokens:
    """Prompts as ids, cut as the model card cuts them: the body alone, at its end."""

    def __init__(self, folder: Path, max_length: int = MAX_LENGTH) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._prefix, self._suffix = (self._encode([text])[0] for text in (PREFIX, SUFFIX))
        self._room = max_length - len(self._prefix) - len(self._suffix)

    def prompts(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        """Return the ids of one prompt per document."""
        bodies = self._encode([body(query, document) for document in documents])
        return [self._prefix + ids[: self._room] + self._suffix for ids in bodies]

    def id_of(self, word: str) -> int:
        """Return the one id of a word.

        Raises:
            ValueError: The vocabulary does not hold it as one token.
        """
        found: int | None = self._tokenizer.token_to_id(word)
        if found is None:
            raise ValueError(f"the tokenizer has no token {word!r}")
        return found

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
