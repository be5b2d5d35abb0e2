"""Prompts, batches and results: what text, scheduler and engine exchange."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shortlist.errors import ServiceError
from shortlist.types.operations import Ids, Operation
from shortlist.types.tasks import InputType


@dataclass(frozen=True, slots=True, eq=False)
class TokenPrefix:
    """The shared prefix of all prompts of one request, as token ids. Compared by identity: one request, one prefix.

    Shapes:
        ids: [num_tokens] int32; may be empty.
    """

    ids: Ids

    @property
    def num_tokens(self) -> int:
        """The number of ids."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class TokenPrompt:
    """One document after the shared prefix, as token ids. The engine processes `prefix.ids` followed by `ids`.

    Shapes:
        ids: [num_own_tokens] int32; at least one.
    """

    prefix: TokenPrefix
    ids: Ids

    @property
    def num_own_tokens(self) -> int:
        """Tokens after the shared prefix."""
        return len(self.ids)

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole prompt."""
        return len(self.prefix.ids) + len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class TextPrefix:
    """The query of one request, for engines that tokenize themselves.

    Attributes:
        text: The query, without the model's prompt.
        num_tokens: Its cost, prompt included.
        prompt: The model's prompt before it.
    """

    text: str
    num_tokens: int
    prompt: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TextPrompt:
    """One document of a request, or one text to embed, for engines that tokenize themselves.

    Attributes:
        prefix: The query.
        text: The document or text, without the model's prompt.
        num_own_tokens: Its cost after the prefix, prompt included.
        prompt: The model's prompt before it.
        input_type: What a text to embed is.
    """

    prefix: TextPrefix
    text: str
    num_own_tokens: int
    prompt: str = ""
    input_type: InputType = InputType.UNSTATED

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole prompt."""
        return self.prefix.num_tokens + self.num_own_tokens


Prompt = TokenPrompt | TextPrompt


def num_batch_tokens(prompts: Iterable[Prompt]) -> int:
    """Return the tokens of one forward pass: every prompt, with each distinct shared prefix counted once."""
    prefixes: dict[int, int] = {}
    num_tokens = 0
    for prompt in prompts:
        prefixes[id(prompt.prefix)] = prompt.prefix.num_tokens
        num_tokens += prompt.num_own_tokens
    return num_tokens + sum(prefixes.values())


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text. Units: characters, end excluded."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """One tokenized text.

    Attributes:
        prompts: One, or one per window.
        spans: The part of the text in each of several prompts; empty for a single prompt.
        num_tokens: Tokens of the text itself that are processed, windows counted once.
        num_tokens_total: All its tokens; None when it was truncated and the total was not requested.
        is_truncated: Whether its end is cut off.
        num_escaped: Special tokens in the text that were escaped, that is tokenized as plain characters. Those of query
            and instruction count with the first document.
        error: The error of a text that cannot be tokenized, which has no prompts.
    """

    prompts: tuple[Prompt, ...]
    num_tokens: int
    num_tokens_total: int | None
    spans: tuple[Span, ...] = ()
    is_truncated: bool = False
    num_escaped: int = 0
    error: ServiceError | None = None


@dataclass(frozen=True, slots=True)
class DocumentStats:
    """How much of one text was processed.

    Attributes:
        num_tokens: Tokens of the text that were processed, windows counted once.
        num_tokens_total: All its tokens, or None if they were not counted.
        is_truncated: Whether its end was cut off.
        num_windows: The number of windows.
        best: The window with the highest score, if there were several.
    """

    num_tokens: int
    num_tokens_total: int | None
    is_truncated: bool = False
    num_windows: int = 1
    best: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """The prompt template that was applied.

    Attributes:
        name: Template name and version.
        preset: Name of the instruction preset; `custom` for the caller's own, `none` for models without instructions.
        instruction: The instruction; None for models without instructions.
    """

    name: str
    preset: str
    instruction: str | None


@dataclass(frozen=True, slots=True, eq=False)
class WorkItem:
    """One queued prompt: item `index` of job `job_id`."""

    job_id: int
    index: int
    prompt: Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The items of one forward pass: one operation, one or several requests, never empty."""

    operation: Operation
    items: tuple[WorkItem, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens of the forward pass. See `num_batch_tokens`."""
        return num_batch_tokens(item.prompt for item in self.items)

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts, in order."""
        return [item.prompt for item in self.items]


Value = Any
"""Result of an operation for one prompt; the operation's `value_type` defines its type."""

Outcome = Value | ServiceError
"""Result of one item: its value, or its own error."""
