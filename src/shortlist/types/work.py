"""What travels between text, scheduler and engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.errors import ServiceError
from shortlist.types.tasks import Task

Ids = npt.NDArray[np.int32]
Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenPrefix:
    """The token ids that all prompts of one request begin with. Compared by identity: one request, one head.

    Shapes:
        ids: [num_tokens] int32; may be empty.
    """

    ids: Ids

    @property
    def num_tokens(self) -> int:
        """How many tokens these are."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class TokenPrompt:
    """One document after its request's head, as token ids. The engine reads `prefix.ids` followed by `ids`.

    Shapes:
        ids: [num_tokens] int32; at least one.
    """

    prefix: TokenPrefix
    ids: Ids

    @property
    def num_tokens(self) -> int:
        """How many tokens these are."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class TextPrefix:
    """The query of one request, for engines that do their own tokenising. `num_tokens` is what it costs."""

    text: str
    num_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class TextPrompt:
    """One document of a request, for engines that do their own tokenising. `num_tokens` is what it costs."""

    prefix: TextPrefix
    text: str
    num_tokens: int


Prompt = TokenPrompt | TextPrompt


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text. Units: characters, end excluded."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """One text, spelled.

    Attributes:
        prompts: One; or several, when the text is read in windows.
        spans: What each of several prompts reads of the text; empty when there is one.
        num_tokens: Tokens of the text itself that are read, windows counted once.
        num_tokens_total: Tokens it has; None when it was not read to its end and nobody asked.
        is_truncated: Whether its end is not read.
        num_escaped: Control tokens that were written out in it, and spelled as plain characters; those of query and
            instruction are counted with the first document.
    """

    prompts: tuple[Prompt, ...]
    num_tokens: int
    num_tokens_total: int | None
    spans: tuple[Span, ...] = ()
    is_truncated: bool = False
    num_escaped: int = 0


@dataclass(frozen=True, slots=True)
class DocumentStats:
    """How much of one text was read.

    Attributes:
        num_tokens: Tokens of the text that were read, windows counted once.
        num_tokens_total: Tokens it has, or None if they were not counted.
        is_truncated: Whether its end was not read.
        num_windows: In how many windows it was read.
        best: The window that its score is from, when there were several.
    """

    num_tokens: int
    num_tokens_total: int | None
    is_truncated: bool = False
    num_windows: int = 1
    best: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """The words around a caller's words.

    Attributes:
        name: The template and its version.
        preset: The name of the instruction; `custom` for the caller's own, `none` for models that take none.
        instruction: The instruction itself, None for models that take none.
    """

    name: str
    preset: str
    instruction: str | None


@dataclass(frozen=True, slots=True, eq=False)
class WorkItem:
    """One prompt on its way to the engine: the `index`-th of job `job_id`."""

    job_id: int
    index: int
    prompt: Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What an engine computes in one step: items of one task, possibly of several requests, never empty."""

    task: Task
    items: tuple[WorkItem, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens the engine reads: every prompt, and every distinct head once."""
        prefixes = {id(item.prompt.prefix): item.prompt.prefix.num_tokens for item in self.items}
        return sum(prefixes.values()) + sum(item.prompt.num_tokens for item in self.items)


Value = float | Vector
Outcome = Value | ServiceError
"""What became of one item: its score or vector, or the error that is its own."""
