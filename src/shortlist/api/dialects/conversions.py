"""What several dialects compute from their fields: task options from the request, counts for the answer."""

from __future__ import annotations

from typing import Final

from shortlist.errors import InvalidInput
from shortlist.schemas.rerank import TokenUsage
from shortlist.types import InputType, OverflowPolicy, Truncation

QUERY_HINTS: Final = frozenset({"query", "search_query", "retrieval.query"})
"""Values of `input_type`, `task` or `prompt_name` that say: these texts are queries. Sources: docs of Voyage, Cohere, Jina."""


DOCUMENT_HINTS: Final = frozenset({"document", "passage", "search_document", "retrieval.passage"})
"""Values that say: these texts are documents."""


def input_type(*hints: str | None) -> InputType:
    """Return what the texts are, from the fields that say so."""
    if QUERY_HINTS.intersection(hints):
        return InputType.QUERY
    return InputType.DOCUMENT if DOCUMENT_HINTS.intersection(hints) else InputType.UNSTATED


def truncation(*, per_query: int | None = None, per_doc: int | None = None, per_prompt: int | None = None) -> Truncation:
    """Return the truncation limits, from fields in which 0 means none; for prompts -1 does, too."""
    return Truncation(
        max_tokens_per_query=per_query or None,
        max_tokens_per_doc=per_doc or None,
        truncate_prompt_tokens=prompt_tokens(per_prompt),
    )


def prompt_tokens(most: int | None) -> int | None:
    """Return the limit of `truncate_prompt_tokens`; None if it sets none."""
    return most if most is not None and most > 0 else None


def overflow(may_truncate: bool | None) -> OverflowPolicy:
    """Return the overflow policy; truncation by default."""
    return OverflowPolicy.ERROR if may_truncate is False else OverflowPolicy.TRUNCATE


def may_truncate(truncate: str | None) -> bool | None:
    """Return whether a text may be truncated, from the values of Cohere and NVIDIA.

    Raises:
        InvalidInput: the value truncates the start of texts.
    """
    if truncate == "START":
        raise InvalidInput("truncate must be END or NONE: texts are cut at their ends only.", param="truncate")
    return None if truncate is None else truncate != "NONE"


def usage(num_tokens: int) -> TokenUsage:
    """Return the counts in OpenAI's fields."""
    return {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
