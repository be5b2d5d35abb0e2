"""What a request asks a served model to compute, and what it gets back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from shortlist.errors import ServiceError
from shortlist.scheduler.cache import Entry
from shortlist.scheduler.dispatcher import Completed
from shortlist.types import DocumentStats, Encoded, Operation, Outcome, RequestOptions, Timing, Usage, Value

CHARS_PER_TOKEN: Final = 3.0
"""Estimate of a text's cost before it is tokenized; the permit is settled with the true count afterwards."""

TextValue = Entry | ServiceError

Positions = Mapping[bytes, int]
"""Positions of texts by cache key."""


@dataclass(frozen=True, slots=True)
class Computed:
    """One `TextValue` per text, in the caller's order, with token counts and timing."""

    found: Sequence[TextValue]
    usage: Usage
    timing: Timing

    @property
    def document_stats(self) -> list[DocumentStats | None]:
        """How much of every text was processed; None for failed texts."""
        return [found.stats if isinstance(found, Entry) else None for found in self.found]

    @property
    def truncated(self) -> list[int]:
        """Positions of truncated texts."""
        return [index for index, stats in enumerate(self.document_stats) if stats is not None and stats.is_truncated]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What to compute for one request.

    Attributes:
        operation: What to compute.
        texts: The texts, in the caller's order.
        keys: The cache key of every text: see `ServedModel.keys`.
        overhead_chars: Characters besides the texts (query, instruction), for the cost estimate.
        encode: Tokenizes texts; called in a worker thread with the positions of the cache misses.
        options: Priority, deadline and caller.
        max_tokens: Most tokens that are read of a text; None if texts are read whole, in windows.
    """

    operation: Operation
    texts: Sequence[str]
    keys: Sequence[bytes]
    overhead_chars: int
    encode: Callable[[Sequence[int]], list[Encoded]]
    options: RequestOptions
    max_tokens: int | None = None

    def estimate(self, positions: Sequence[int]) -> int:
        """Return the estimated tokens of some of the texts."""
        most = math.inf if self.max_tokens is None else self.max_tokens * CHARS_PER_TOKEN
        num_chars = sum(min(len(self.texts[index]), most) for index in positions)
        return int((num_chars + self.overhead_chars) / CHARS_PER_TOKEN) + len(positions)


def text_values(operation: Operation, encoded: Sequence[Encoded], completed: Completed) -> Iterator[TextValue]:
    """Yield the value of every text from the outcomes of its prompts."""
    outcomes = iter(completed.outcomes)
    for each in encoded:
        yield _text_value(operation, each, list(islice(outcomes, len(each.prompts))))


def _text_value(operation: Operation, encoded: Encoded, outcomes: Sequence[Outcome]) -> TextValue:
    """Return the value of a text: of its only prompt, or its best window. One failed window fails the text."""
    if encoded.error is not None:
        return encoded.error
    failure = next((outcome for outcome in outcomes if isinstance(outcome, ServiceError)), None)
    if failure is not None:
        return failure
    values: Sequence[Value] = outcomes
    best = values.index(max(values)) if len(values) > 1 else 0  # only scores have several windows
    stats = DocumentStats(
        num_tokens=encoded.num_tokens,
        num_tokens_total=encoded.num_tokens_total,
        is_truncated=encoded.is_truncated,
        num_windows=len(outcomes),
        best=encoded.spans[best] if encoded.spans else None,
    )
    return Entry(operation, values[best], sum(prompt.num_tokens for prompt in encoded.prompts), stats)
