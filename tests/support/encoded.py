"""What an encoder made of texts that are read in one piece: the prompt of each, and whether it was cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.types import Encoded, Ids, Prompt, TextPrefix, TextPrompt, TokenPrefix, TokenPrompt


@dataclass(frozen=True)
class OneTokens:
    prefix: TokenPrefix
    ids: Ids
    is_truncated: bool

    @property
    def num_tokens(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class OneText:
    prefix: TextPrefix
    text: str
    num_tokens: int
    is_truncated: bool


def prompts(encoded: Sequence[Encoded]) -> list[Prompt]:
    """Return the one prompt of every text."""
    assert all(len(each.prompts) == 1 and not each.spans for each in encoded)
    return [each.prompts[0] for each in encoded]


def tokens(encoded: Sequence[Encoded]) -> list[OneTokens]:
    found = []
    for each, prompt in zip(encoded, prompts(encoded), strict=True):
        assert isinstance(prompt, TokenPrompt)
        found.append(OneTokens(prompt.prefix, prompt.ids, each.is_truncated))
    return found


def texts(encoded: Sequence[Encoded]) -> list[OneText]:
    found = []
    for each, prompt in zip(encoded, prompts(encoded), strict=True):
        assert isinstance(prompt, TextPrompt)
        found.append(OneText(prompt.prefix, prompt.text, prompt.num_own_tokens, each.is_truncated))
    return found
