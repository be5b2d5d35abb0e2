"""Positions of the queries and keys of every prompt in a packed sequence. Pure positions."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class PackedSpan:
    """A span of tokens that attends to a shared prefix and, causally, to itself.

    Attributes:
        queries: Rows of q (and of the result), for the last `len(queries)` tokens of `rows`.
        rows: Rows of k and v of the span itself.
        prefix: Rows of k and v of its shared prefix; empty without one, and for a prefix itself.
        is_scored: Whether the final state of the span's last token is used.
    """

    queries: range
    rows: range
    prefix: range
    is_scored: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The spans of a packed sequence of `num_tokens` tokens."""

    spans: tuple[PackedSpan, ...]
    num_tokens: int

    @property
    def scored_rows(self) -> list[int]:
        """The row of the last token of every scored span, in order."""
        return [span.rows[-1] for span in self.spans if span.is_scored]

    def pruned(self) -> Layout:
        """Return the layout with one query per scored span: its last token."""
        scored = (span for span in self.spans if span.is_scored)
        spans = (replace(span, queries=range(row, row + 1)) for row, span in enumerate(scored))
        return replace(self, spans=tuple(spans))
