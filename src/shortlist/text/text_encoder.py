"""Prompts for engines that tokenize themselves: text in, text out, with its length in tokens.

The model's fast tokenizer counts tokens and truncates. Without one, lengths are estimated, and requests that need them are
refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from tokenizers import Encoding, Tokenizer

from shortlist.errors import InputTooLong, InvalidInput, ServiceError
from shortlist.text.encoder import Parts, PromptView
from shortlist.text.reading import TOTAL_CHARS, ReadLength, at_most, each_read, failed, read_lengths
from shortlist.text.text_rules import ReadText, TextRules, WantedPairs, longest_first
from shortlist.text.tokenizer import decode, token_list
from shortlist.text.window import read_windows
from shortlist.types import (
    NO_TRUNCATION,
    Encoded,
    InputType,
    OverflowPolicy,
    Prompt,
    PromptTemplate,
    TextPrefix,
    TextPrompt,
    Token,
    Truncation,
)

TEXT_VERSION: Final = 3
LONG_QUERY: Final = 8
"""How many times the model's limit is read of a query that exceeds it, and of its documents, to see which is longer."""

_WINDOW_MARGIN: Final = 2
"""Tokens that a window's text may gain when it is tokenised on its own."""


class TextEncoder:
    """An `Encoder` for models that tokenize themselves.

    Args:
        rules: How the model reads texts.
        max_model_len: Longest text in tokens, special tokens included.
    """

    def __init__(self, rules: TextRules, max_model_len: int) -> None:
        self.max_model_len = max_model_len
        self._rules = rules
        self._prompts = rules.prompts
        self._tokenizer = _bare(rules.tokenizer) if rules.tokenizer else None
        own_special = self._tokenizer.num_special_tokens_to_add(rules.reads_pairs) if self._tokenizer else 0
        self._num_special = own_special if rules.num_special is None else rules.num_special
        described = [
            *(TEXT_VERSION, max_model_len, rules.reads_pairs, self._num_special, rules.truncates),
            *(dict(rules.prompts.named), rules.prompts.default, dict(rules.limits)),
        ]
        self._fingerprint = "text-" + hashlib.sha256(json.dumps(described).encode() + rules.tokenizer).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Identifies the prompts, the tokenizer and the length limits."""
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

    # -- reranking --

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
        """Tokenize every document. See `Encoder`.

        Of a pair that is too long for a cross-encoder, the longer text is truncated first, as sentence-transformers does. A
        query that leaves no tokens for windows keeps half of them.
        """
        self.template(instruction)
        self._check_countable(is_needed=on_overflow is not OverflowPolicy.TRUNCATE or truncation != NO_TRUNCATION)
        wanted = WantedPairs(on_overflow, truncation, with_totals)
        if not self._rules.reads_pairs:
            return self._pairs_apart(query, documents, wanted)
        if on_overflow is OverflowPolicy.TRUNCATE:
            return self._pairs_truncated(query, documents, wanted)
        return self._pairs_whole(query, documents, wanted)

    def _pairs_truncated(self, query: str, documents: Sequence[str], wanted: WantedPairs) -> list[Encoded]:
        """Tokenize pairs that are read as one text, of which both may be truncated."""
        truncation, space = wanted.truncation, self._pair_space(wanted)
        prompt = self._prompts.find(InputType.UNSTATED)
        asked, most = self._read_query(query, prompt, min(truncation.max_tokens_per_query or space, space)), space
        if asked.is_cut and truncation.max_tokens_per_query is None:  # the longer text keeps the odd token
            most = LONG_QUERY * space
            asked = self._read_query(query, prompt, most)
        is_exact = wanted.has_limits or not self._rules.truncates
        prefixes: dict[int, TextPrefix] = {}
        encoded = []
        for read in self._read(documents, "", min(truncation.max_tokens_per_doc or most, most)):
            if isinstance(read, ServiceError):
                encoded.append(failed(read))
                continue
            num_query, num_document = asked.num_tokens, read.num_tokens
            if self._tokenizer is not None:
                num_query, num_document = longest_first(num_query, num_document, space)
            if num_query not in prefixes:
                is_shorter = is_exact and num_query < asked.num_tokens
                kept = self._read_query(query, prompt, num_query) if is_shorter else asked
                prefixes[num_query] = _prefix(kept, num_query, is_exact=is_exact or truncation.max_tokens_per_query is not None)
            is_shorter = is_exact and num_document < read.num_tokens
            own = self._read_again(read, num_document) if is_shorter else read
            own_prompt = self._prompt(prefixes[num_query], own, num_document, is_exact=is_exact)
            is_cut = read.is_cut or num_document < read.num_tokens or num_query < asked.num_tokens
            is_cut |= asked.is_cut and truncation.max_tokens_per_query is None
            encoded.append(self._encoded(own_prompt, own, num_document, is_cut=is_cut, with_total=wanted.with_totals))
        return encoded

    def _pairs_whole(self, query: str, documents: Sequence[str], wanted: WantedPairs) -> list[Encoded]:
        """Tokenize pairs that are read as one text, of which documents are refused or split into windows if they do not fit."""
        truncation, space = wanted.truncation, self._pair_space(wanted)
        is_chunk = wanted.on_overflow is OverflowPolicy.CHUNK
        prompt = self._prompts.find(InputType.UNSTATED)
        asked = self._read_query(query, prompt, min(truncation.max_tokens_per_query or space, space))
        if is_chunk and asked.num_tokens >= space:
            asked = self._read_query(query, prompt, space // 2)
        left = space - asked.num_tokens
        if left < 1 or (asked.is_cut and not is_chunk and truncation.max_tokens_per_query is None):
            raise InputTooLong(f"The query leaves no tokens for a document within {space} tokens.", param="query")
        prefix = _prefix(asked, asked.num_tokens, is_exact=True)
        limit = min(left, truncation.max_tokens_per_doc or left)
        is_own = limit == self.max_model_len - self._num_special - asked.num_tokens
        return self._documents(prefix, documents, "", limit, wanted, is_own=is_own)

    def _pairs_apart(self, query: str, documents: Sequence[str], wanted: WantedPairs) -> list[Encoded]:
        """Tokenize queries and documents that are read by themselves, as embedders do."""
        truncation = wanted.truncation
        longest = truncation.truncate_prompt_tokens or self.max_model_len
        for_query, for_document = (self._space(each, longest) for each in (InputType.QUERY, InputType.DOCUMENT))
        if min(for_query, for_document) < 1:
            message = f"truncate_prompt_tokens leaves no tokens for a text within {longest} tokens."
            raise InputTooLong(message, param="truncate_prompt_tokens")
        most = min(truncation.max_tokens_per_query or for_query, for_query)
        asked = self._read_query(query, self._prompts.find(InputType.QUERY), most)
        is_query_own = most == self._space(InputType.QUERY, self.max_model_len)
        if asked.is_cut and is_query_own and wanted.on_overflow is OverflowPolicy.ERROR:
            raise _too_long("The query", "query", most)
        prefix = _prefix(asked, asked.num_tokens, is_exact=not is_query_own)
        limit = min(truncation.max_tokens_per_doc or for_document, for_document)
        is_own = limit == self._space(InputType.DOCUMENT, self.max_model_len)
        prompt = self._prompts.find(InputType.DOCUMENT)
        return self._documents(
            prefix, documents, prompt, limit, wanted, is_own=is_own, is_query_cut=asked.is_cut and is_query_own
        )

    def _documents(
        self,
        prefix: TextPrefix,
        documents: Sequence[str],
        prompt: str,
        limit: int,
        wanted: WantedPairs,
        *,
        is_own: bool,
        is_query_cut: bool = False,
    ) -> list[Encoded]:
        """Tokenize documents after a query.

        Args:
            prefix: The query.
            documents: The documents.
            prompt: The model's prompt before them.
            limit: Most tokens of a document, its prompt included.
            wanted: What the caller asks for.
            is_own: Whether the limit is the model's, not the caller's.
            is_query_cut: Whether the query was truncated to the model's limit.
        """
        encoded = []
        for index, read in enumerate(self._read(documents, prompt, limit)):
            param = f"documents[{index}]"
            if isinstance(read, ServiceError):
                encoded.append(failed(read))
            elif read.is_cut and wanted.on_overflow is OverflowPolicy.CHUNK:
                encoded.append(self._windows(prefix, read, limit, param))
            elif read.is_cut and is_own and wanted.on_overflow is OverflowPolicy.ERROR:
                raise _too_long(param, param, limit)
            else:
                own_prompt = self._prompt(prefix, read, read.num_tokens, is_exact=not is_own or self._rules.reads_pairs)
                is_cut = read.is_cut or is_query_cut
                encoded.append(self._encoded(own_prompt, read, read.num_tokens, is_cut=is_cut, with_total=wanted.with_totals))
        return encoded

    def _windows(self, prefix: TextPrefix, read: ReadText, limit: int, param: str) -> Encoded:
        tokenizer = self._tokenizer
        assert tokenizer is not None, "Without a tokenizer no text is known to be too long. This is a bug."

        def encode(part: str) -> Encoding:
            return tokenizer.encode(part, add_special_tokens=False)

        found = at_most(read_windows(encode, read.text, max(1, limit - _WINDOW_MARGIN), lead=read.prompt), param)
        parts = [(read.text[window.span.start : window.span.end], len(window.ids)) for window in found]
        total = self._num_total(read)
        return Encoded(
            prompts=tuple(
                TextPrompt(prefix, text, self._cost(num_tokens), read.prompt, InputType.DOCUMENT) for text, num_tokens in parts
            ),
            spans=tuple(window.span for window in found),
            num_tokens=sum(num_tokens for _, num_tokens in parts) if total is None else total,
            num_tokens_total=total,
        )

    # -- embedding --

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
        """Tokenize every text to embed. See `Encoder`."""
        self.template(instruction)
        self._check_countable(is_needed=not truncate or truncate_prompt_tokens is not None)
        prompt = self._prompts.find(input_type, prompt_name)
        longest = truncate_prompt_tokens or self.max_model_len
        space = self._space(input_type, longest)
        if space < 1:
            message = f"truncate_prompt_tokens leaves no tokens for a text within {longest} tokens."
            raise InputTooLong(message, param="truncate_prompt_tokens")
        is_own = space == self._space(input_type, self.max_model_len)
        prefix = TextPrefix("", 0)
        encoded = []
        for index, read in enumerate(self._read(texts, prompt, space)):
            if isinstance(read, ServiceError):
                encoded.append(failed(read))
                continue
            if read.is_cut and is_own and not truncate:
                raise _too_long(f"input[{index}]", f"input[{index}]", space)
            own_prompt = self._prompt(prefix, read, read.num_tokens, is_exact=not is_own, input_type=input_type)
            encoded.append(self._encoded(own_prompt, read, read.num_tokens, is_cut=read.is_cut))
        return encoded

    # -- showing --

    def view(self, shown: Prompt) -> PromptView:
        """Return a prompt as text; the engine tokenises it, so there are no parts. See `Encoder`."""
        assert isinstance(shown, TextPrompt), "This encoder makes prompts of text. This is a bug."
        texts = (shown.prefix.prompt + shown.prefix.text, shown.prompt + shown.text)
        return PromptView(text="\n".join(text for text in texts if text), parts={})

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
            raise InvalidInput("This model has no fast tokenizer, so its tokens cannot be shown.", param="model")
        return self._tokenizer

    def _check_countable(self, *, is_needed: bool) -> None:
        if is_needed and self._tokenizer is None:
            raise InvalidInput(
                "This model has no fast tokenizer: tokens cannot be counted, and texts are truncated at the model's own limit.",
                param="model",
            )

    # -- reading --

    def _space(self, input_type: InputType, longest: int) -> int:
        """Return the tokens of a text that is read by itself, its prompt included, special tokens not."""
        limits = (longest, self.max_model_len, self._rules.limits.get(input_type, self.max_model_len))
        return min(limits) - self._num_special

    def _pair_space(self, wanted: WantedPairs) -> int:
        """Return the tokens of a query and a document that are read as one text."""
        longest = min(self.max_model_len, wanted.truncation.truncate_prompt_tokens or self.max_model_len)
        space = longest - self._num_special
        if space < 2:
            raise InputTooLong(f"There are no tokens left for query and document within {longest} tokens.", param="query")
        return space

    def _read_query(self, query: str, prompt: str, limit: int) -> ReadText:
        [read] = self._read([query], prompt, limit)
        if isinstance(read, ServiceError):
            raise read
        return read

    def _read_again(self, read: ReadText, limit: int) -> ReadText:
        """Return less of a text that was read before."""
        [again] = self._read([read.text], read.prompt, limit)
        assert isinstance(again, ReadText), "It was tokenized before. This is a bug."
        return again

    def _read(self, texts: Sequence[str], prompt: str, limit: int) -> list[ReadText | ServiceError]:
        """Return how much of every text is read after its prompt, or the error of a text that cannot be tokenized."""
        prompts = [self._prompts.missing(text, prompt) for text in texts]
        lengths = self._read_lengths([before + text for before, text in zip(prompts, texts, strict=True)], limit)
        return [
            length if isinstance(length, ServiceError) else ReadText(before, text, length)
            for before, text, length in zip(prompts, texts, lengths, strict=True)
        ]

    def _read_lengths(self, texts: Sequence[str], limit: int) -> Sequence[ReadLength | ServiceError | None]:
        if self._tokenizer is None:
            return [None] * len(texts)
        return list(each_read(lambda part: read_lengths(self._encode_batch, part, limit), texts))

    def _encode_batch(self, texts: Sequence[str]) -> Sequence[Encoding]:
        assert self._tokenizer is not None, "Only texts with known lengths are read. This is a bug."
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def _encoded(
        self, prompt: TextPrompt, read: ReadText, num_tokens: int, *, is_cut: bool, with_total: bool = False
    ) -> Encoded:
        has_total = read.length is not None and (with_total or not read.is_cut)
        return Encoded(
            prompts=(prompt,),
            num_tokens=num_tokens,
            num_tokens_total=self._num_total(read) if has_total else None,
            is_truncated=is_cut,
        )

    def _num_total(self, read: ReadText) -> int | None:
        """Return the tokens of the whole text; None if it is too long to be counted."""
        if not read.is_cut:
            return read.num_tokens
        return sum(map(len, self._encode_batch([read.prompt + read.text]))) if len(read.text) <= TOTAL_CHARS else None

    def _prompt(
        self,
        prefix: TextPrefix,
        read: ReadText,
        num_tokens: int,
        *,
        is_exact: bool,
        input_type: InputType = InputType.DOCUMENT,
    ) -> TextPrompt:
        return TextPrompt(prefix, read.kept(is_exact=is_exact), self._cost(num_tokens), read.prompt, input_type)

    def _cost(self, num_tokens: int) -> int:
        return max(1, num_tokens + self._num_special)  # even an empty text counts: it is computed


def _prefix(read: ReadText, num_tokens: int, *, is_exact: bool) -> TextPrefix:
    return TextPrefix(read.kept(is_exact=is_exact), num_tokens, read.prompt)


def _too_long(subject: str, param: str, limit: int) -> InputTooLong:
    return InputTooLong(f"{subject} has more than the {limit} tokens that fit, and may not be truncated.", param=param)


def _bare(content: bytes) -> Tokenizer:
    """Build a tokenizer without padding and truncation, whatever its file configures."""
    fields = json.loads(content)
    return Tokenizer.from_str(json.dumps(fields | {"truncation": None, "padding": None}))
