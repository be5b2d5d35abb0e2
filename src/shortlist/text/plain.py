"""Prompts for engines that do their own tokenising: text in, text out, with its length in tokens.

A fast tokenizer, where the model has one, counts and finds where to cut; without one lengths are estimated and nothing is
cut or refused. Knows nothing of the engine that will read the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tokenizers import Tokenizer

from shortlist.errors import InputTooLong, InvalidInput, ModelRefused
from shortlist.types import Prompt, TextHead, TextPrompt

PLAIN_VERSION: Final = 1
_NO_PROMPTS: Final[Mapping[str, str]] = MappingProxyType({})
_BYTES_PER_TOKEN: Final = 4
"""A guess for models without a fast tokenizer; it only steers scheduling."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """A text after cutting, its tokens, and whether anything was cut."""

    text: str
    num_tokens: int
    is_cut: bool


class TextEncoder:
    """An `Encoder` for models that tokenise for themselves.

    Args:
        tokenizer_path: The model's `tokenizer.json`, or None when it has none.
        max_model_len: Longest prompt in tokens, special tokens included.
        prompts: What to put before a "query" and before a "document". A query prompt that contains `{instruction}` makes
            the model one that takes instructions; its "instruction" entry is then the default.

    Raises:
        ModelRefused: the tokenizer file cannot be read.
    """

    def __init__(self, tokenizer_path: Path | None, max_model_len: int, prompts: Mapping[str, str] = _NO_PROMPTS) -> None:
        self.max_model_len = max_model_len
        self._prompts = dict(prompts)
        content = b"" if tokenizer_path is None else _read(tokenizer_path)
        self._tokenizer = _bare(content) if content else None
        spelled = json.dumps([PLAIN_VERSION, max_model_len, self._prompts], sort_keys=True)
        self._fingerprint = "text-" + hashlib.sha256(spelled.encode() + content).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Names the prompts, the tokenizer file and the length limit."""
        return self._fingerprint

    def encode_pairs(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        truncate: bool = True,
        max_tokens_per_doc: int | None = None,
    ) -> list[Prompt]:
        """Return one prompt per document, all sharing one head object. See `Encoder`."""
        [asked] = self._cut([self._query_prompt(instruction) + query], None)
        head = TextHead(asked.text, asked.num_tokens)
        room = self.max_model_len - head.num_tokens - self._num_special(is_pair=True)
        if room < 1 and self._tokenizer is not None:
            raise InputTooLong(f"Query and instruction leave no room within {self.max_model_len} tokens.", param="query")
        limit = room if max_tokens_per_doc is None else min(room, max_tokens_per_doc)
        texts = [self._prompts.get("document", "") + document for document in documents]
        return self._all(head, self._cut(texts, limit), "documents", truncate=truncate or limit < room)

    def encode_texts(
        self, texts: Sequence[str], *, is_query: bool = False, instruction: str | None = None, truncate: bool = True
    ) -> list[Prompt]:
        """Return one prompt per text to embed. See `Encoder`."""
        is_query = is_query or instruction is not None
        before = self._query_prompt(instruction) if is_query else self._prompts.get("document", "")
        room = self.max_model_len - self._num_special(is_pair=False)
        cut = self._cut([before + text for text in texts], room)
        return self._all(TextHead("", 0), cut, "input", truncate=truncate)

    def _query_prompt(self, instruction: str | None) -> str:
        frame = self._prompts.get("query", "")
        takes_instruction = "{instruction}" in frame
        if instruction is not None and not takes_instruction:
            raise InvalidInput("This model takes no instruction.", param="instruction")
        asked = self._prompts.get("instruction", "") if instruction is None else instruction
        return frame.replace("{instruction}", asked)

    def _cut(self, texts: Sequence[str], limit: int | None) -> list[_Cut]:
        if self._tokenizer is None:
            return [_Cut(text, _estimate(text), is_cut=False) for text in texts]
        found = []
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        for text, encoding in zip(texts, encodings, strict=True):
            if limit is None or len(encoding) <= limit:
                found.append(_Cut(text, len(encoding), is_cut=False))
            else:
                found.append(_Cut(text[: encoding.offsets[limit - 1][1]], limit, is_cut=True))
        return found

    def _num_special(self, *, is_pair: bool) -> int:
        return 0 if self._tokenizer is None else self._tokenizer.num_special_tokens_to_add(is_pair)

    def _all(self, head: TextHead, cut: Sequence[_Cut], field: str, *, truncate: bool) -> list[Prompt]:
        special = self._num_special(is_pair=bool(head.text))
        for index, text in enumerate(cut):
            if text.is_cut and not truncate:
                raise InputTooLong(
                    f"{field}[{index}] does not fit into {self.max_model_len} tokens, and may not be cut.",
                    param=f"{field}[{index}]",
                )
        # A text is never free: even an empty one is computed.
        return [TextPrompt(head, text.text, max(1, text.num_tokens + special), text.is_cut) for text in cut]


def _estimate(text: str) -> int:
    return len(text.encode()) // _BYTES_PER_TOKEN + 1


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        has_model = "model" in json.loads(content)
    except (OSError, ValueError, TypeError) as error:
        raise ModelRefused(f"{path} cannot be read as a tokenizer.json.") from error
    if not has_model:
        raise ModelRefused(f"{path} cannot be read as a tokenizer.json.")
    return content


def _bare(content: bytes) -> Tokenizer:
    """Build a tokenizer that neither pads nor cuts, whatever its file says."""
    fields = json.loads(content)
    return Tokenizer.from_str(json.dumps(fields | {"truncation": None, "padding": None}))
