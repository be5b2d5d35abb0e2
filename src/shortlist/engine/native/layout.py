"""Positions of the queries and keys of every prompt in a packed sequence. Pure positions."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class PackedSpan:
    """One run of tokens that attends to a head and, causally, to itself.

    Attributes:
        queries: Rows of q (and of the result), for the last `len(queries)` tokens of `rows`.
        rows: Rows of k and v of the run itself.
        prefix: Rows of k and v of the head that comes before it; empty when it has none, or is one.
        is_scored: Whether the run's last token is read from.
    """

    queries: range
    rows: range
    prefix: range
    is_scored: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies in a pack of `num_tokens` tokens."""

    spans: tuple[PackedSpan, ...]
    num_tokens: int

    @property
    def scored_rows(self) -> list[int]:
        """The row of the last token of every scored run, in order."""
        return [span.rows[-1] for span in self.spans if span.is_scored]

    def pruned(self) -> Layout:
        """Return the layout with one query per scored run, its last token, and no others."""
        scored = (span for span in self.spans if span.is_scored)
        spans = (replace(span, queries=range(row, row + 1)) for row, span in enumerate(scored))
        return replace(self, spans=tuple(spans))
