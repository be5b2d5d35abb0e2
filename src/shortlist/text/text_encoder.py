"""Prompts for engines that tokenize themselves: text in, text out, with its length in tokens.

The model's fast tokenizer counts tokens and truncates. Without one, lengths are estimated, and no text is truncated, refused
or split into windows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tokenizers import Encoding, Tokenizer

from shortlist.errors import InputTooLong, InvalidInput, ModelRefused, ServiceError
from shortlist.text.encoder import Parts, PromptView
from shortlist.text.reading import TOTAL_CHARS, ReadLength, at_most, failed, read_lengths, tokenizer_error
from shortlist.text.tokenizer import decode, token_list
from shortlist.text.window import read_windows
from shortlist.types import (
    NO_TRUNCATION,
    Encoded,
    OverflowPolicy,
    Prompt,
    PromptTemplate,
    TextPrefix,
    TextPrompt,
    Token,
    Truncation,
)

TEXT_VERSION: Final = 2
_NO_PROMPTS: Final[Mapping[str, str]] = MappingProxyType({})
_BYTES_PER_TOKEN: Final = 4
"""A guess for models without a fast tokenizer; it only steers scheduling."""
_WINDOW_MARGIN: Final = 2
"""Tokens that a window's text may gain when it is tokenised on its own."""


class TextEncoder:
    """An `Encoder` for models that tokenize themselves.

    Args:
        tokenizer_path: The model's `tokenizer.json`, or None when it has none.
        max_model_len: Longest text in tokens, special tokens included.
        reads_pairs: Whether the model reads query and document as one text, as cross-encoders do.
        prompts: What to put before a "query" and before a "document".

    Raises:
        ModelRefused: the tokenizer file cannot be read.
    """

    def __init__(
        self, tokenizer_path: Path | None, max_model_len: int, *, reads_pairs: bool, prompts: Mapping[str, str] = _NO_PROMPTS
    ) -> None:
        self.max_model_len = max_model_len
        self._before_query = prompts.get("query", "")
        self._before_document = prompts.get("document", "")
        content = b"" if tokenizer_path is None else _read(tokenizer_path)
        self._tokenizer = _bare(content) if content else None
        self._num_special = self._tokenizer.num_special_tokens_to_add(reads_pairs) if self._tokenizer else 0
        self._reads_pairs = reads_pairs
        tokenized = json.dumps([TEXT_VERSION, max_model_len, reads_pairs, self._before_query, self._before_document])
        self._fingerprint = "text-" + hashlib.sha256(tokenized.encode() + content).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Names the prompts, the tokenizer file and the length limit."""
        return self._fingerprint

    @property
    def template_ids(self) -> None:
        """None: the engine applies the template. See `Encoder`."""
        return None

    def template(self, instruction: str | None = None, preset: str | None = None) -> PromptTemplate:
        """Return the template, which is the model's own. See `Encoder`."""
        if instruction is not None:
            raise InvalidInput("This model takes no instruction.", param="instruction")
        if preset is not None:
            raise InvalidInput("This model takes no instruction, and so no preset.", param="preset")
        return PromptTemplate(name=f"text/{TEXT_VERSION}", preset="none", instruction=None)

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
        """Tokenize every document; all prompts share one prefix object. See `Encoder`."""
        self.template(instruction)
        longest = min(self.max_model_len, truncation.truncate_prompt_tokens or self.max_model_len)
        most_query = longest if self._reads_pairs else longest - self._num_special
        prefix = self._prefix(self._before_query + query, truncation.max_tokens_per_query, max(1, most_query))
        num_template = self._num_special + (prefix.num_tokens if self._reads_pairs else 0)
        most = self.max_model_len - num_template
        limit = min(longest - num_template, truncation.max_tokens_per_doc or most)
        if limit < 1:
            raise InputTooLong(f"The query leaves no tokens for a document within {longest} tokens.", param="query")
        is_error = on_overflow is OverflowPolicy.ERROR and limit == most
        texts = [self._before_document + document for document in documents]
        return [
            self._windows(prefix, documents[index], limit, f"documents[{index}]")
            if isinstance(length, ReadLength) and length.is_cut and on_overflow is OverflowPolicy.CHUNK
            else self._encoded(
                prefix, texts[index], length, f"documents[{index}]", limit, is_error=is_error, with_totals=with_totals
            )
            for index, length in enumerate(self._read_lengths(texts, limit))
        ]

    def encode_texts(
        self,
        texts: Sequence[str],
        *,
        is_query: bool = False,
        instruction: str | None = None,
        truncate: bool = True,
        truncate_prompt_tokens: int | None = None,
    ) -> list[Encoded]:
        """Tokenize every text to embed. See `Encoder`."""
        self.template(instruction)
        before = self._before_query if is_query else self._before_document
        longest = min(self.max_model_len, truncate_prompt_tokens or self.max_model_len)
        most = longest - self._num_special
        if most < 1:
            raise InputTooLong(
                f"truncate_prompt_tokens leaves no tokens for a text within {longest} tokens.", param="truncate_prompt_tokens"
            )
        is_error = not truncate and longest == self.max_model_len
        prefix = TextPrefix("", 0)
        whole = [before + text for text in texts]
        return [
            self._encoded(prefix, whole[index], length, f"input[{index}]", most, is_error=is_error)
            for index, length in enumerate(self._read_lengths(whole, most))
        ]

    def view(self, shown: Prompt) -> PromptView:
        """Return a prompt as text; the engine tokenises it, so there are no parts. See `Encoder`."""
        assert isinstance(shown, TextPrompt), "This encoder makes prompts of text. This is a bug."
        return PromptView(text="\n".join(part for part in (shown.prefix.text, shown.text) if part), parts={})

    def strip_template(self, query: str, document: str) -> Parts | None:
        """Return None: the model has its own template. See `Encoder`."""
        del query, document
        return None

    def tokens(self, texts: Sequence[str], *, with_special: bool = True) -> list[list[Token]]:
        """Return the tokens of texts by themselves. See `Encoder`."""
        encodings = self._asked().encode_batch(list(texts), add_special_tokens=with_special)
        return [token_list(encoding, text) for encoding, text in zip(encodings, texts, strict=True)]

    def text_of(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Return the text of token ids. See `Encoder`."""
        return decode(self._asked(), ids, skip_special=skip_special)

    def _asked(self) -> Tokenizer:
        if self._tokenizer is None:
            raise InvalidInput("This model has no tokenizer.json, so its tokens cannot be shown.", param="model")
        return self._tokenizer

    def _prefix(self, text: str, most: int | None, longest: int) -> TextPrefix:
        """Return a query truncated to `most` tokens. Of a longer one than `longest`, only that more do not fit is counted."""
        [length] = self._read_lengths([text], most or longest)
        if isinstance(length, ServiceError):
            raise length
        if length is None:
            return TextPrefix(text, _estimate(text))
        is_too_long = length.is_cut and most is None and self._reads_pairs
        return TextPrefix(text[: length.end], length.num_tokens + is_too_long)

    def _read_lengths(self, texts: Sequence[str], limit: int) -> Sequence[ReadLength | ServiceError | None]:
        """Return how much of every text is read, or the error of a text that cannot be tokenized."""
        if self._tokenizer is None:
            return [None] * len(texts)
        try:
            return read_lengths(self._encode_batch, texts, limit)
        except BaseException as error:
            if (failure := tokenizer_error(error)) is None:
                raise
            return [failure] if len(texts) == 1 else [each for text in texts for each in self._read_lengths([text], limit)]

    def _encode_batch(self, texts: Sequence[str]) -> Sequence[Encoding]:
        assert self._tokenizer is not None, "Only texts with known lengths are read. This is a bug."
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def _encoded(
        self,
        prefix: TextPrefix,
        text: str,
        length: ReadLength | ServiceError | None,
        param: str,
        limit: int,
        *,
        is_error: bool,
        with_totals: bool = False,
    ) -> Encoded:
        if isinstance(length, ServiceError):
            return failed(length)
        if length is None:
            num_tokens = _estimate(text)
            return Encoded(prompts=(self._prompt(prefix, text, num_tokens),), num_tokens=num_tokens, num_tokens_total=None)
        if length.is_cut and is_error:
            raise InputTooLong(f"{param} has more than the {limit} tokens that fit, and may not be truncated.", param=param)
        return Encoded(
            prompts=(self._prompt(prefix, text[: length.end], length.num_tokens),),
            num_tokens=length.num_tokens,
            num_tokens_total=self._num_total(text, length) if with_totals or not length.is_cut else None,
            is_truncated=length.is_cut,
        )

    def _num_total(self, text: str, length: ReadLength) -> int | None:
        """Return the tokens of the whole text; None if it is too long to be counted."""
        if not length.is_cut:
            return length.num_tokens
        return sum(map(len, self._encode_batch([text]))) if len(text) <= TOTAL_CHARS else None

    def _windows(self, prefix: TextPrefix, document: str, limit: int, param: str) -> Encoded:
        tokenizer = self._tokenizer
        assert tokenizer is not None, "Without a tokenizer no text is known to be too long. This is a bug."

        def encode(part: str) -> Encoding:
            return tokenizer.encode(part, add_special_tokens=False)

        windows = read_windows(encode, document, max(1, limit - _WINDOW_MARGIN), lead=self._before_document)
        found = at_most(windows, param)
        parts = [self._before_document + document[window.span.start : window.span.end] for window in found]
        total = self._num_total(document, ReadLength(0, 0, is_cut=True))
        return Encoded(
            prompts=tuple(self._prompt(prefix, part, len(window.ids)) for part, window in zip(parts, found, strict=True)),
            spans=tuple(window.span for window in found),
            num_tokens=sum(len(window.ids) for window in found) if total is None else total,
            num_tokens_total=total,
        )

    def _prompt(self, prefix: TextPrefix, text: str, num_tokens: int) -> TextPrompt:
        # Even an empty text counts: it is computed.
        return TextPrompt(prefix, text, max(1, num_tokens + self._num_special))


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
    """Build a tokenizer without padding and truncation, whatever its file configures."""
    fields = json.loads(content)
    return Tokenizer.from_str(json.dumps(fields | {"truncation": None, "padding": None}))
