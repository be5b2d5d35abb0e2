"""An encoder that counts words: tests can say how many tokens a text has by writing that many words."""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.errors import InputTooLong
from shortlist.types import Prompt, TextHead, TextPrompt


class WordEncoder:
    """Implements `text.base.Encoder`. `seen` holds every text it was asked to encode."""

    def __init__(self, max_model_len: int = 8192) -> None:
        self.max_model_len = max_model_len
        self.seen: list[str] = []

    @property
    def fingerprint(self) -> str:
        return f"words:{self.max_model_len}"

    def encode_pairs(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        truncate: bool = True,
        max_tokens_per_doc: int | None = None,
    ) -> list[Prompt]:
        head = TextHead(f"{instruction or ''} {query}".strip(), len(query.split()) + len((instruction or "").split()))
        room = self.max_model_len - head.num_tokens
        limit = min(room, max_tokens_per_doc or room)
        may_cut = truncate or limit < room
        return [self._cut(head, text, limit, may_cut, f"documents[{i}]") for i, text in enumerate(documents)]

    def encode_texts(
        self, texts: Sequence[str], *, is_query: bool = False, instruction: str | None = None, truncate: bool = True
    ) -> list[Prompt]:
        prefix = (instruction or "query:") if is_query or instruction else ""
        head = TextHead(prefix, len(prefix.split()))
        return [self._cut(head, text, self.max_model_len, truncate, f"input[{i}]") for i, text in enumerate(texts)]

    def _cut(self, head: TextHead, text: str, room: int, truncate: bool, param: str) -> TextPrompt:
        self.seen.append(text)
        words = text.split()
        if len(words) > room and not truncate:
            raise InputTooLong(f"{param} has {len(words)} tokens; {room} fit.", param=param)
        return TextPrompt(head, " ".join(words[:room]), min(len(words), room) + 1, len(words) > room)
