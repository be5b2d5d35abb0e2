"""Spells requests as Qwen3-Reranker and Qwen3-Embedding read them.

The ids are those of the official procedure, piece by piece: the frame and query once per request, every document on its
own. The pieces meet where no token can reach across. Knows nothing of engines, queues or callers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from shortlist.errors import BadSetting, InputTooLong, InvalidInput, ModelRefused
from shortlist.text import prompt
from shortlist.text.speller import ControlTokens, Spelled, Speller
from shortlist.types import Ids, Prompt, Task, TokenHead, TokenPrompt

_NO_IDS: Final[Ids] = np.zeros(0, dtype=np.int32)
_PROBES: Final = (("a", "b", "c"), (" x.\n", "\n 1 ", ""), ("查 ", "é!", "\n\n word"), ("!?", "'s", "  two"))
"""Bodies that show whether a tokenizer splits where our pieces meet."""


class QwenEncoder:
    """An `Encoder` for one Qwen3 reranker or embedder.

    Args:
        tokenizer_path: The model's `tokenizer.json`.
        task: Which of the two frames to put around texts.
        max_model_len: Longest prompt in tokens, everything included.
        control_tokens: What control tokens written out in callers' texts become; see `Speller`.

    Raises:
        ModelRefused: the tokenizer is not one that the frame can be spelled with.
        BadSetting: not even the frame fits into `max_model_len`.
    """

    def __init__(
        self, tokenizer_path: Path, *, task: Task, max_model_len: int, control_tokens: ControlTokens = "neutral"
    ) -> None:
        self.task = task
        self.max_model_len = max_model_len
        self._speller = Speller(tokenizer_path, control_tokens=control_tokens)
        self._prefix, self._suffix = _frame(self._speller, task)
        self._fingerprint = (
            f"qwen3-{task.value}-frame{prompt.TEMPLATE_VERSION}-{self._speller.digest}-{max_model_len}-{control_tokens}"
        )
        num_framed = len(self._prefix) + len(self._suffix)
        if max_model_len <= num_framed:
            raise BadSetting(f"max_model_len is {max_model_len}, but the model's frame alone has {num_framed} tokens.")
        _check_split(self._speller)

    @property
    def fingerprint(self) -> str:
        """Names the frame, its version, the tokenizer file, the length limit and the treatment of control tokens."""
        return self._fingerprint

    @property
    def answer_ids(self) -> tuple[int, int]:
        """The token ids of "yes" and "no", whose logits a reranker compares."""
        yes, no = (self._speller.word_id(word) for word in prompt.RERANK_ANSWERS)
        return yes, no

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """The ids that every pair's prompt begins with; none for an embedder."""
        return tuple(self._prefix.tolist())

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        """The ids that every prompt ends in, whatever was cut; the model is read at the last one."""
        return tuple(self._suffix.tolist())

    def text_of(self, ids: Sequence[int]) -> str:
        """Return ids as text, control tokens written out; for people."""
        return self._speller.text_of(ids)

    @property
    def num_neutralised(self) -> int:
        """How many control tokens callers have written out so far; always 0 when they are not neutralised."""
        return self._speller.num_neutralised

    # -- reranking --

    def encode_pairs(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        truncate: bool = True,
        max_tokens_per_doc: int | None = None,
    ) -> list[Prompt]:
        """Return one prompt per document, all sharing one head object. See `Encoder`.

        Units:
            max_tokens_per_doc counts the document's own tokens. A caller who sets it has allowed that cut, whatever
            `truncate` says.
        """
        self._require(Task.RERANK)
        head = self._pair_head(query, prompt.DEFAULT_INSTRUCTION if instruction is None else instruction)
        room = self.max_model_len - head.num_tokens - len(self._suffix)
        if room < 1:
            raise self._no_room("query")
        limit = _limit(room, max_tokens_per_doc)
        spelled = self._speller.spell([prompt.document_piece(document) for document in documents], limit)
        if not truncate and limit == room:
            _refuse_cut(spelled, room, "documents")
        return [self._prompt(head, document) for document in spelled]

    def _pair_head(self, query: str, instruction: str) -> TokenHead:
        pieces = [prompt.instruction_piece(instruction), prompt.query_piece(query)]
        spelled = self._speller.spell(pieces, self.max_model_len)
        return TokenHead(np.concatenate([self._prefix, *(piece.ids for piece in spelled)]))

    # -- embedding --

    def encode_texts(
        self, texts: Sequence[str], *, is_query: bool = False, instruction: str | None = None, truncate: bool = True
    ) -> list[Prompt]:
        """Return one prompt per text to embed; a query that already carries the frame is left as it is. See `Encoder`."""
        self._require(Task.EMBED)
        to_frame = {
            index for index, text in enumerate(texts) if (is_query or instruction is not None) and not prompt.is_framed(text)
        }
        heads = {False: TokenHead(_NO_IDS)}
        if to_frame:
            heads[True] = self._task_head(prompt.DEFAULT_INSTRUCTION if instruction is None else instruction)
        pieces = [prompt.task_query_piece(text) if index in to_frame else text for index, text in enumerate(texts)]
        prompts: dict[int, Prompt] = {}
        for is_framed, head in heads.items():
            mine = {index: piece for index, piece in enumerate(pieces) if (index in to_frame) == is_framed}
            prompts |= self._text_prompts(head, mine, truncate=truncate)
        return [prompts[index] for index in range(len(texts))]

    def _task_head(self, instruction: str) -> TokenHead:
        [spelled] = self._speller.spell([prompt.task_piece(instruction)], self.max_model_len)
        head = TokenHead(spelled.ids)
        if head.num_tokens + len(self._suffix) >= self.max_model_len:
            raise self._no_room("instruction")
        return head

    def _text_prompts(self, head: TokenHead, pieces: dict[int, str], *, truncate: bool) -> Iterator[tuple[int, Prompt]]:
        room = self.max_model_len - head.num_tokens - len(self._suffix)
        spelled = dict(zip(pieces, self._speller.spell(list(pieces.values()), room), strict=True))
        for index, text in spelled.items():
            if text.is_cut and not truncate:
                raise _too_long(f"input[{index}]", room)
            yield index, self._prompt(head, text)

    # -- both --

    def _prompt(self, head: TokenHead, spelled: Spelled) -> TokenPrompt:
        return TokenPrompt(head, np.concatenate([spelled.ids, self._suffix]), is_truncated=spelled.is_cut)

    def _require(self, task: Task) -> None:
        if self.task is not task:
            raise InvalidInput(f"This model can {self.task.value}; it cannot {task.value}.", param="model")

    def _no_room(self, param: str) -> InputTooLong:
        return InputTooLong(f"Query and instruction leave no room within {self.max_model_len} tokens.", param=param)


def _frame(speller: Speller, task: Task) -> tuple[Ids, Ids]:
    """Return the ids before the first and after the last piece of a caller's text."""
    if task is Task.EMBED:
        return _NO_IDS, np.asarray([speller.control_id(prompt.END_OF_TEXT)], dtype=np.int32)
    for token in prompt.RERANK_CONTROLS:
        speller.control_id(token)
    for word in prompt.RERANK_ANSWERS:
        speller.word_id(word)
    return speller.frame_ids(prompt.RERANK_PREFIX), speller.frame_ids(prompt.RERANK_SUFFIX)


def _check_split(speller: Speller) -> None:
    """Refuse a tokenizer in which the pieces of a body do not spell the body."""
    for instruction, query, document in _PROBES:
        bodies = (
            [prompt.instruction_piece(instruction), prompt.query_piece(query), prompt.document_piece(document)],
            [prompt.task_piece(instruction), prompt.task_query_piece(query)],
        )
        for pieces in bodies:
            apart = np.concatenate([speller.frame_ids(piece) for piece in pieces])
            if not np.array_equal(apart, speller.frame_ids("".join(pieces))):
                raise ModelRefused(f"{speller.path} does not split words as Qwen's tokenizer does.")


def _limit(room: int, max_tokens_per_doc: int | None) -> int:
    if max_tokens_per_doc is None:
        return room
    if max_tokens_per_doc < 1:
        raise InvalidInput("max_tokens_per_doc must be at least 1.", param="max_tokens_per_doc")
    return min(room, max_tokens_per_doc)


def _refuse_cut(spelled: Sequence[Spelled], room: int, field: str) -> None:
    for index, text in enumerate(spelled):
        if text.is_cut:
            raise _too_long(f"{field}[{index}]", room)


def _too_long(param: str, room: int) -> InputTooLong:
    return InputTooLong(f"{param} has more than the {room} tokens there is room for, and may not be cut.", param=param)
