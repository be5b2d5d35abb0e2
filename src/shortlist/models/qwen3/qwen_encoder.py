"""Encodes requests for Qwen3-Reranker and Qwen3-Embedding.

The ids equal those of the official procedure. Template and query are tokenized once per request, every document by itself.
The pieces meet where no token can cross.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from shortlist.config import ControlTokens
from shortlist.errors import BadSetting, InputTooLong, InvalidInput, ModelRefused
from shortlist.models.qwen3 import prompt
from shortlist.text.encoder import Parts, PromptView, TemplateIds, TokenView
from shortlist.text.model_prompts import Prompts
from shortlist.text.reading import at_most, failed
from shortlist.text.tokenizer import EscapingTokenizer, TokenizedText
from shortlist.types import (
    EMBED,
    NO_TRUNCATION,
    RERANK,
    Encoded,
    Ids,
    InputType,
    Operation,
    OverflowPolicy,
    Prompt,
    PromptTemplate,
    Token,
    TokenPrefix,
    TokenPrompt,
    Truncation,
)

QWEN_PROMPTS: Final = Prompts({"query": prompt.task_prompt(prompt.DEFAULT_INSTRUCTION), "document": ""})
"""Source: `config_sentence_transformers.json` of Qwen3-Embedding."""

MODEL_PRESET: Final = "model"
"""The name of an instruction that only the model's folder states."""

MIN_PAIR_TOKENS: Final = 2
"""Tokens for a query and a document of one token each."""

_NO_IDS: Final[Ids] = np.zeros(0, dtype=np.int32)
_PROBES: Final = (("a", "b", "c"), (" x.\n", "\n 1 ", ""), ("查 ", "é!", "\n\n word"), ("!?", "'s", "  two"))
"""Texts that show whether a tokenizer splits where the pieces meet."""


class QwenEncoder:
    """An `Encoder` for one Qwen3 reranker or embedder.

    Args:
        tokenizer_path: The model's `tokenizer.json`.
        operation: Which of the two templates to apply.
        max_model_len: Longest prompt in tokens, template included.
        control_tokens: Treatment of special tokens in callers' texts; see `EscapingTokenizer`.
        default_instruction: The instruction for pairs of requests without one.
        prompts: The prompts of an embedder; those of a reranker are presets.

    Raises:
        ModelRefused: the tokenizer cannot tokenize the template.
        BadSetting: the template alone exceeds `max_model_len`.
    """

    def __init__(
        self,
        tokenizer_path: Path,
        *,
        operation: Operation,
        max_model_len: int,
        control_tokens: ControlTokens = "neutral",
        default_instruction: str = prompt.DEFAULT_INSTRUCTION,
        prompts: Prompts | None = None,
    ) -> None:
        self.operation = operation
        self.max_model_len = max_model_len
        self._tokenizer = EscapingTokenizer(tokenizer_path, control_tokens=control_tokens)
        self._template_prefix, self._template_suffix = _template_ids(self._tokenizer, operation)
        self._prompts = QWEN_PROMPTS if prompts is None else prompts
        self._instruction = default_instruction
        named = self._prompts.named if operation is RERANK else {}
        self._presets = {**prompt.INSTRUCTIONS, **{name: text for name, text in named.items() if text}}
        self._fingerprint = (
            f"qwen3-{operation.name}-frame{prompt.TEMPLATE_VERSION}-{self._tokenizer.digest}-{max_model_len}-{control_tokens}"
        )
        if operation is EMBED and self._prompts != QWEN_PROMPTS:
            self._fingerprint += f"-{_digest(self._prompts)}"
        num_template = len(self._template_prefix) + len(self._template_suffix)
        if max_model_len <= num_template:
            raise BadSetting(
                f"max_model_len is {max_model_len}, but the model's prompt template alone has {num_template} tokens."
            )
        _check_split(self._tokenizer)

    @property
    def fingerprint(self) -> str:
        """Identifies template, version, prompts, tokenizer file, length limit and treatment of special tokens."""
        return self._fingerprint

    @property
    def answer_ids(self) -> tuple[int, int]:
        """The token ids of "yes" and "no", whose logits a reranker compares."""
        yes, no = (self._tokenizer.word_id(word) for word in prompt.RERANK_ANSWERS)
        return yes, no

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """The template's ids before the instruction; none for an embedder."""
        return tuple(self._template_prefix.tolist())

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        """The ids that end every prompt, truncated or not; the score is read at the last one."""
        return tuple(self._template_suffix.tolist())

    @property
    def template_ids(self) -> TemplateIds:
        """The ids of the prompt template. See `Encoder`."""
        suffix = self.suffix_ids
        return TemplateIds(
            template_version=prompt.TEMPLATE_VERSION,
            prefix_ids=self.prefix_ids,
            suffix_ids=suffix,
            read_text=self._tokenizer.pieces(self._template_suffix[-1:])[0],
            answer_ids=self.answer_ids if self.operation is RERANK else None,
        )

    def template(self, instruction: str | None = None, preset: str | None = None) -> PromptTemplate:
        """Return the template; without instruction and preset, with the model's default. See `Encoder`."""
        template = f"qwen3-{self.operation.name}/{prompt.TEMPLATE_VERSION}"
        if instruction is not None and preset is not None:
            raise InvalidInput("Give an instruction or a preset, not both.", param="preset")
        if instruction is not None:
            return PromptTemplate(name=template, preset="custom", instruction=instruction)
        if preset is None:
            default = self._default_instruction
            name = next((name for name, text in self._presets.items() if text == default), MODEL_PRESET)
            return PromptTemplate(name=template, preset=name, instruction=default)
        if preset not in self._presets:
            raise InvalidInput(f"preset must be one of {', '.join(self._presets)}.", param="preset")
        return PromptTemplate(name=template, preset=preset, instruction=self._presets[preset])

    @property
    def _default_instruction(self) -> str:
        """The instruction for pairs, or that in an embedder's own prompt for queries."""
        if self.operation is RERANK:
            return self._instruction
        own = self._prompts.find(InputType.QUERY)
        is_framed = prompt.has_template(own)
        return own.removeprefix("Instruct: ").rpartition("\n")[0] if is_framed else prompt.DEFAULT_INSTRUCTION

    def view(self, shown: Prompt) -> PromptView:
        """Return a prompt in readable form, with id and text of every token. See `Encoder`."""
        assert isinstance(shown, TokenPrompt), "This encoder makes prompts of token ids. This is a bug."
        prefix, own = shown.prefix.ids, shown.ids
        num_template_prefix, num_template_suffix = len(self._template_prefix), len(self._template_suffix)
        parts = {
            "prefix": prefix[:num_template_prefix],
            "query": prefix[num_template_prefix:],
            "document": own[: len(own) - num_template_suffix],
            "suffix": own[len(own) - num_template_suffix :],
        }
        return PromptView(
            text=self._tokenizer.text_of(np.concatenate([prefix, own])),
            parts={name: self._token_views(ids) for name, ids in parts.items()},
        )

    def _token_views(self, ids: Ids) -> list[TokenView]:
        return [TokenView(number, text) for number, text in zip(ids.tolist(), self._tokenizer.pieces(ids), strict=True)]

    def strip_template(self, query: str, document: str) -> Parts | None:
        """Return the parts of a pair that already has the template. See `Encoder`."""
        if self.operation is not RERANK or not prompt.has_rerank_template(query):
            return None
        # Some clients leave out the newline where the two texts meet, others send it.
        parts = prompt.strip_template(query + document) or prompt.strip_template(f"{query}\n{document}")
        if parts is None:
            raise InvalidInput(
                "The text carries a chat template, but not the one that this model was trained with. Send query and documents "
                "as they are: the server puts the template around them.",
                param="query",
            )
        return parts

    def tokens(self, texts: Sequence[str], *, with_special: bool = True) -> list[list[Token]]:
        """Return the tokens of texts. See `Encoder`."""
        return [self._tokenizer.tokens(text, with_special=with_special) for text in texts]

    def text_of(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Return the text of token ids. See `Encoder`."""
        return self._tokenizer.decode(ids, skip_special=skip_special)

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
        """Tokenize every document; all prompts share one prefix object. See `Encoder`."""
        self._require(RERANK)
        longest = min(self.max_model_len, truncation.truncate_prompt_tokens or self.max_model_len)
        asked_query = self._cut(query, _at_least_one(truncation.max_tokens_per_query, "max_tokens_per_query"))
        instruction = self._instruction if instruction is None else instruction
        prefix = self._pair_prefix(asked_query, instruction)
        num_template = prefix.num_tokens + len(self._template_suffix)
        is_query_cut = num_template >= longest and on_overflow is not OverflowPolicy.ERROR
        if is_query_cut:
            asked_query = self._cut(asked_query, self._most_query(instruction, longest))
            prefix = self._pair_prefix(asked_query, instruction)
            num_template = prefix.num_tokens + len(self._template_suffix)
        most = self.max_model_len - num_template
        limit = min(longest - num_template, _at_least_one(truncation.max_tokens_per_doc, "max_tokens_per_doc") or most)
        if limit < 1:
            raise _no_tokens_left("query", longest)
        tokenized = self._tokenizer.tokenize(documents, limit, lead=prompt.DOCUMENT_LEAD, with_totals=with_totals)
        if on_overflow is OverflowPolicy.ERROR and limit == most:
            _refuse_cut(tokenized, most, "documents")
        asked = sum(self._tokenizer.num_escaped(text, self.max_model_len) for text in (asked_query, instruction))
        encoded = [
            self._windows(prefix, document, limit, f"documents[{index}]")
            if each.is_cut and on_overflow is OverflowPolicy.CHUNK
            else self._encoded(prefix, each, self._tokenizer.num_escaped(document, limit) + (0 if index else asked))
            for index, (document, each) in enumerate(zip(documents, tokenized, strict=True))
        ]
        return [replace(each, is_truncated=True) for each in encoded] if is_query_cut else encoded

    def _most_query(self, instruction: str, longest: int) -> int:
        """Return the tokens of a query that is too long: half of what template and instruction leave for the pair.

        Raises:
            InputTooLong: they leave none.
        """
        empty = self._pair_prefix("", instruction)
        left = longest - empty.num_tokens - len(self._template_suffix)
        if left < MIN_PAIR_TOKENS:
            raise _no_tokens_left("query", longest)
        return left // 2

    def _pair_prefix(self, query: str, instruction: str) -> TokenPrefix:
        pieces = [prompt.instruction_piece(instruction), prompt.query_piece(query)]
        tokenized = self._tokenizer.tokenize(pieces, self.max_model_len)
        if failure := next((piece.error for piece in tokenized if piece.error), None):
            raise failure
        return TokenPrefix(np.concatenate([self._template_prefix, *(piece.ids for piece in tokenized)]))

    def _cut(self, query: str, most: int | None) -> str:
        """Return the query, truncated to `most` tokens at its place in the prompt."""
        return query if most is None else self._tokenizer.truncate(query, most, lead=" ")

    def _windows(self, prefix: TokenPrefix, document: str, limit: int, param: str) -> Encoded:
        windows = at_most(self._tokenizer.windows(document, limit, lead=prompt.DOCUMENT_LEAD), param)
        [whole] = self._tokenizer.tokenize([document], limit, lead=prompt.DOCUMENT_LEAD, with_totals=True)
        return Encoded(
            prompts=tuple(self._prompt(prefix, window.ids) for window in windows),
            spans=tuple(window.span for window in windows),
            num_tokens=sum(len(window.ids) for window in windows) if whole.num_total is None else whole.num_total,
            num_tokens_total=whole.num_total,
            num_escaped=self._tokenizer.num_escaped(document, limit * len(windows)),
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
        """Tokenize every text to embed; one that already has a prompt is kept as it is. See `Encoder`."""
        self._require(EMBED)
        longest = min(self.max_model_len, truncate_prompt_tokens or self.max_model_len)
        own = self._prompts.find(input_type, prompt_name)
        asked = own if instruction is None else prompt.task_prompt(instruction, like=self._prompts.find(InputType.QUERY))
        before = ["" if prompt.has_template(text) else self._prompts.missing(text, asked) for text in texts]
        encoded: dict[int, Encoded] = {}
        for each in dict.fromkeys(before):
            # No token crosses the last newline of a prompt, unless white space follows.
            head, newline, tail = each.rpartition("\n")
            if tail[:1].isspace() or not tail:
                head, newline, tail = "", "", each
            prefix = self._text_prefix(head + newline)
            mine = {index: tail + text for index, text in enumerate(texts) if before[index] == each}
            encoded |= self._encoded_texts(prefix, mine, longest, truncate=truncate)
        return [encoded[index] for index in range(len(texts))]

    def _text_prefix(self, head: str) -> TokenPrefix:
        """Return the beginning of a prompt that all texts share."""
        if not head:
            return TokenPrefix(_NO_IDS)
        [tokenized] = self._tokenizer.tokenize([head], self.max_model_len)
        prefix = TokenPrefix(tokenized.ids)
        if prefix.num_tokens + len(self._template_suffix) >= self.max_model_len:
            raise _no_tokens_left("instruction", self.max_model_len)
        return prefix

    def _encoded_texts(
        self, prefix: TokenPrefix, pieces: dict[int, str], longest: int, *, truncate: bool
    ) -> Iterator[tuple[int, Encoded]]:
        most = longest - prefix.num_tokens - len(self._template_suffix)
        if most < 1:
            raise _no_tokens_left("instruction", longest)
        tokenized = self._tokenizer.tokenize(list(pieces.values()), most)
        for (index, piece), each in zip(pieces.items(), tokenized, strict=True):
            if each.is_cut and not truncate and longest == self.max_model_len:
                raise _too_long(f"input[{index}]", most)
            yield index, self._encoded(prefix, each, self._tokenizer.num_escaped(piece, most))

    # -- both --

    def _encoded(self, prefix: TokenPrefix, tokenized: TokenizedText, num_escaped: int) -> Encoded:
        if tokenized.error is not None:
            return failed(tokenized.error)
        return Encoded(
            prompts=(self._prompt(prefix, tokenized.ids),),
            num_tokens=len(tokenized.ids),
            num_tokens_total=tokenized.num_total,
            is_truncated=tokenized.is_cut,
            num_escaped=num_escaped,
        )

    def _prompt(self, prefix: TokenPrefix, ids: Ids) -> TokenPrompt:
        return TokenPrompt(prefix, np.concatenate([ids, self._template_suffix]))

    def _require(self, operation: Operation) -> None:
        if self.operation is not operation:
            raise InvalidInput(f"This model can {self.operation.name}; it cannot {operation.name}.", param="model")


def _template_ids(tokenizer: EscapingTokenizer, operation: Operation) -> tuple[Ids, Ids]:
    """Return the template's ids before and after the caller's texts."""
    if operation is EMBED:
        return _NO_IDS, np.asarray([tokenizer.control_id(prompt.END_OF_TEXT)], dtype=np.int32)
    for token in prompt.RERANK_CONTROLS:
        tokenizer.control_id(token)
    for word in prompt.RERANK_ANSWERS:
        tokenizer.word_id(word)
    return tokenizer.template_ids(prompt.RERANK_PREFIX), tokenizer.template_ids(prompt.RERANK_SUFFIX)


def _check_split(tokenizer: EscapingTokenizer) -> None:
    """Refuse a tokenizer for which the ids of the pieces differ from those of the whole text."""
    for instruction, query, document in _PROBES:
        bodies = (
            [prompt.instruction_piece(instruction), prompt.query_piece(query), prompt.document_piece(document)],
            [prompt.task_piece(instruction), prompt.task_query_piece(query)],
        )
        for pieces in bodies:
            apart = np.concatenate([tokenizer.template_ids(piece) for piece in pieces])
            if not np.array_equal(apart, tokenizer.template_ids("".join(pieces))):
                raise ModelRefused(f"{tokenizer.path} does not split words as Qwen's tokenizer does.")


def _digest(prompts: Prompts) -> str:
    content = json.dumps([dict(prompts.named), prompts.default])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _at_least_one(most: int | None, name: str) -> int | None:
    if most is not None and most < 1:
        raise InvalidInput(f"{name} must be at least 1.", param=name)
    return most


def _no_tokens_left(param: str, longest: int) -> InputTooLong:
    return InputTooLong(f"Query and instruction leave no tokens for a text within {longest} tokens.", param=param)


def _refuse_cut(tokenized: Sequence[TokenizedText], most: int, field: str) -> None:
    for index, text in enumerate(tokenized):
        if text.is_cut:
            raise _too_long(f"{field}[{index}]", most)


def _too_long(param: str, most: int) -> InputTooLong:
    return InputTooLong(f"{param} has more than the {most} tokens that fit, and may not be truncated.", param=param)
