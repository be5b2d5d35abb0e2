"""Text to token ids, exactly and safely, for tokenizers of the Qwen family.

An `EscapingTokenizer` loads one `tokenizer.json` twice: with added tokens for prompt templates, and without them for callers'
texts, so that a text cannot produce a special token.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import orjson
from tokenizers import Encoding, Tokenizer

from shortlist import gc_pause
from shortlist.config import ControlTokens
from shortlist.errors import InvalidInput, ModelRefused, ServiceError
from shortlist.text import fast_tokenizer
from shortlist.text.fast_tokenizer import fast_tokenize
from shortlist.text.reading import TOTAL_CHARS, each_read, in_groups
from shortlist.text.window import CHARS_PER_TOKEN, GROWTH, MARGIN_CHARS, MAX_CHARS, Window, num_settled, read_windows
from shortlist.types import Ids, Span, Token

ReadT = TypeVar("ReadT")

ID_LIMIT: Final = 2**32
"""Ids are 32 bits wide to the tokenizers library, which fails over others."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedText:
    """One text as token ids, possibly truncated.

    Attributes:
        is_cut: Whether it was truncated.
        num_total: Tokens of the whole text, or None when they were not counted.
        error: The error of a text that cannot be tokenized, which has no ids.

    Shapes:
        ids: [num_tokens] int32.
    """

    ids: Ids
    is_cut: bool
    num_total: int | None
    error: ServiceError | None = None


class EscapingTokenizer:
    """Tokenizes texts with one tokenizer file. Thread-safe.

    Args:
        path: A `tokenizer.json`.
        control_tokens: "neutral" escapes special tokens in callers' texts (plain characters); "official" keeps them as
            special tokens, as the model card's script does.

    Attributes:
        digest: SHA-256 of the file, in hex.

    Raises:
        ModelRefused: the file is missing, unreadable or of an unknown kind.
    """

    def __init__(self, path: Path, *, control_tokens: ControlTokens = "neutral") -> None:
        content = _read(path)
        self.path = path
        self.digest = hashlib.sha256(content).hexdigest()
        with gc_pause.paused():  # a vocabulary is half a million objects
            fields = _parse(path, content)
            self._added = {str(token["content"]): int(token["id"]) for token in fields.get("added_tokens") or ()}
            self._full = Tokenizer.from_str(content.decode())
            self._full.no_padding()
            self._full.no_truncation()
            self._user = self._full if control_tokens == "official" else _without_added(self._full, fields)
            self._read = fast_tokenize(fields, self._user) if control_tokens == "neutral" else None
            self._controls = _any_of(self._added) if control_tokens == "neutral" else None

    def num_escaped(self, text: str, num_tokens: int) -> int:
        """Return the number of special tokens that are escaped in as much of a text as has usually this many tokens."""
        read = text[: num_tokens * CHARS_PER_TOKEN]
        return len(self._controls.findall(read)) if self._controls is not None and "<" in read else 0

    def template_ids(self, text: str) -> Ids:
        """Return the ids of template text, in which special tokens are special tokens."""
        return _ids(self._full.encode(text, add_special_tokens=False))

    def control_id(self, token: str) -> int:
        """Return the id of an added token.

        Raises:
            ModelRefused: the tokenizer does not have it as one added token.
        """
        if token not in self._added or self.template_ids(token).tolist() != [self._added[token]]:
            raise ModelRefused(f"{self.path}: {token} is not a single added token; this is not the tokenizer of the model.")
        return self._added[token]

    def word_id(self, word: str) -> int:
        """Return the id of a word that must be one token.

        Raises:
            ModelRefused: it is several tokens, or none.
        """
        ids = self.template_ids(word)
        if len(ids) != 1:
            raise ModelRefused(f"{self.path}: {word!r} is {len(ids)} tokens, not one; this is not the tokenizer of the model.")
        return int(ids[0])

    def pieces(self, ids: Ids) -> list[str]:
        """Return the text of every token, special tokens included; a partial character is shown as such."""
        return [self._full.decode([number], skip_special_tokens=False) for number in ids.tolist()]

    def text_of(self, ids: Ids) -> str:
        """Return the text of token ids, special tokens included."""
        return str(self._full.decode(ids.tolist(), skip_special_tokens=False))

    def tokens(self, text: str, *, with_special: bool) -> list[Token]:
        """Return the tokens of a caller's text, and those that the tokenizer adds at its end."""
        added = self._full.encode("", add_special_tokens=with_special)
        return [*token_list(self._user.encode(text, add_special_tokens=False), text), *token_list(added, "")]

    def decode(self, ids: Sequence[int], *, skip_special: bool) -> str:
        """Return the text of a caller's token ids.

        Raises:
            InvalidInput: there is no such id.
        """
        return decode(self._full, ids, skip_special=skip_special)

    def windows(self, text: str, size: int, *, lead: str) -> Iterator[Window]:
        """Yield windows of at most `size` tokens, each tokenized after `lead`. See `read_windows`."""
        return read_windows(self._encode, text, size, lead=lead)

    def truncate(self, text: str, size: int, *, lead: str) -> str:
        """Return the longest beginning of a text with at most `size` tokens, tokenized after `lead`."""
        end = next(read_windows(self._encode, text, size, lead=lead)).span.end
        while end and len(self._encode(lead + text[:end])) > size:
            end -= 1  # the limit split a character of several tokens
        return text[:end]

    def _encode(self, text: str) -> Encoding:
        return self._user.encode(text, add_special_tokens=False)

    def tokenize(self, texts: Sequence[str], limit: int, *, lead: str = "", with_totals: bool = False) -> list[TokenizedText]:
        """Return the first `limit` token ids of every text after `lead`, as if all were tokenized and then truncated.

        Of a text much longer than its limit, only a beginning is tokenized, unless its total is requested. The beginning
        grows until enough of its tokens no longer depend on the rest, or to `MAX_CHARS`.

        Raises:
            DeadlineExceeded: the ids are no longer needed.
        """
        tokenized: dict[int, TokenizedText] = {}
        num_chars = limit * CHARS_PER_TOKEN + 2 * MARGIN_CHARS
        most_chars = max(num_chars, MAX_CHARS)
        whole_chars = max(num_chars, TOTAL_CHARS) if with_totals else num_chars
        while len(tokenized) < len(texts):
            left = [index for index in range(len(texts)) if index not in tokenized]
            tokenized |= self._tokenize_whole({i: texts[i] for i in left if len(texts[i]) <= whole_chars}, limit, lead)
            if beginnings := {i: lead + texts[i][:num_chars] for i in left if len(texts[i]) > whole_chars}:
                tokenized |= self._tokenize_start(beginnings, limit, is_last=num_chars >= most_chars)
            num_chars = min(num_chars * GROWTH, most_chars)
            whole_chars = max(whole_chars, num_chars)
        return [tokenized[index] for index in range(len(texts))]

    def _tokenize_whole(self, texts: dict[int, str], limit: int, lead: str) -> Iterator[tuple[int, TokenizedText]]:
        for index, ids in zip(texts, self._each(self._all_ids, list(texts.values()), lead), strict=True):
            if isinstance(ids, ServiceError):
                yield index, _failed(ids)
            else:
                yield index, TokenizedText(ids[:limit], is_cut=len(ids) > limit, num_total=len(ids))

    def _each(
        self, read: Callable[[Sequence[str], str], Sequence[ReadT]], texts: Sequence[str], lead: str
    ) -> Iterator[ReadT | ServiceError]:
        """Yield what is read from every text in groups, or the error of a text on which the tokenizer panics."""
        for group in in_groups(texts):
            yield from each_read(lambda part: read(part, lead), group)

    def _all_ids(self, texts: Sequence[str], lead: str) -> Sequence[Ids]:
        if self._read is not None and all(len(text) <= fast_tokenizer.MAX_CHARS for text in texts):
            return self._read(texts, lead)
        return [_ids(each) for each in self._user.encode_batch_fast([lead + text for text in texts], add_special_tokens=False)]

    def _tokenize_start(self, texts: dict[int, str], limit: int, *, is_last: bool) -> Iterator[tuple[int, TokenizedText]]:
        """Yield texts whose first `limit` ids, and the existence of more, are certain; all texts if this is the last try."""
        for (index, text), encoding in zip(texts.items(), self._each(self._encodings, list(texts.values()), ""), strict=True):
            if isinstance(encoding, ServiceError):
                yield index, _failed(encoding)
                continue
            ids = _ids(encoding)
            if is_last or num_settled(encoding, len(text)) > limit:
                yield index, TokenizedText(ids[:limit], is_cut=True, num_total=None)

    def _encodings(self, texts: Sequence[str], lead: str) -> Sequence[Encoding]:
        return self._user.encode_batch([lead + text for text in texts], add_special_tokens=False)


def _failed(error: ServiceError) -> TokenizedText:
    return TokenizedText(np.zeros(0, dtype=np.int32), is_cut=False, num_total=None, error=error)


def token_list(encoding: Encoding, text: str) -> list[Token]:
    """Return the tokens of an encoding of this text."""
    rows = zip(encoding.ids, encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True)
    return [
        Token(number, name, is_special=True, span=None)
        if is_added
        else Token(number, text[start:end], is_special=False, span=Span(start, end))
        for number, name, (start, end), is_added in rows
    ]


def decode(tokenizer: Tokenizer, ids: Sequence[int], *, skip_special: bool) -> str:
    """Return the text of token ids; see `Encoder.text_of`."""
    most = tokenizer.get_vocab_size(with_added_tokens=True)
    if any(not 0 <= number < ID_LIMIT or tokenizer.id_to_token(number) is None for number in ids):
        raise InvalidInput(f"An id is not one of this model's {most} tokens.", param="ids")
    return str(tokenizer.decode(list(ids), skip_special_tokens=skip_special))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelRefused(f"{path} cannot be read ({error.strerror}); a tokenizer.json is needed.") from error


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(content)
    except ValueError as error:
        raise ModelRefused(f"{path} is not JSON.") from error
    model = fields.get("model") if isinstance(fields, dict) else None
    if not isinstance(model, dict) or model.get("type") != "BPE" or not model.get("vocab") or "merges" not in model:
        raise ModelRefused(f"{path} is not a byte-pair tokenizer, as Qwen's is.")
    return dict(fields)


def _without_added(full: Tokenizer, fields: dict[str, Any]) -> Tokenizer:
    """Return a tokenizer that has no added tokens and is otherwise equal to `full`."""
    added = {token["content"] for token in fields.get("added_tokens") or ()}
    model = fields["model"]
    if added.intersection(model["vocab"]):
        ordinary = {token: number for token, number in model["vocab"].items() if token not in added}
        full = Tokenizer.from_str(json.dumps(fields | {"added_tokens": [], "model": model | {"vocab": ordinary}}))
    # The model itself is shared, not copied.
    user = Tokenizer(full.model)
    user.normalizer = full.normalizer
    user.pre_tokenizer = full.pre_tokenizer
    return user


def _any_of(tokens: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _ids(encoding: Encoding) -> Ids:
    return np.asarray(encoding.ids, dtype=np.int32)
