"""What several dialects compute from their fields: task options from the request, counts for the answer."""

from __future__ import annotations

from typing import Final

from shortlist.errors import InvalidInput
from shortlist.schemas.rerank import TokenUsage
from shortlist.types import NO_TRUNCATION, InputType, OverflowPolicy, Truncation

SAGEMAKER_PATH: Final = "/invocations"
"""Where SageMaker sends every request: vLLM's container takes the bodies of all its routes there."""

QUERIES: Final = frozenset({"query", "queries", "question"})
DOCUMENTS: Final = frozenset({"document", "documents", "passage", "passages", "corpus"})
"""Last words of `input_type`, `task` and `text_type`: search_query, retrieval.passage.

Sources: docs of Cohere, Voyage, Jina and NVIDIA.
"""

OTHERS: Final = frozenset({"classification", "clustering", "text_matching", "separation", "semantic_similarity"})
"""Values of these servers that are about neither queries nor documents."""

MAX_HINT_LENGTH: Final = 100
"""Most characters of a value that can be known."""

_SEPARATORS: Final = str.maketrans("-. ", "___")

EXAMPLES: Final = (
    "query, document, search_query, search_document, retrieval.query, retrieval.passage, classification or clustering"
)


def input_type(**hints: str | None) -> InputType:
    """Return what the texts are, from the fields that say so; case and separators do not matter.

    Args:
        hints: Values by the names of their fields.

    Raises:
        InvalidInput: a value is not known. Embedded as documents, misspelt queries would find worse documents in silence.
    """
    found = [_input_type(name, hint) for name, hint in hints.items() if hint is not None]
    return next((each for each in found if each is InputType.QUERY), next(iter(found), InputType.UNSTATED))


def _input_type(name: str, hint: str) -> InputType:
    value = hint.strip().lower().translate(_SEPARATORS) if len(hint) <= MAX_HINT_LENGTH else ""
    last = value.rpartition("_")[2]
    if last in QUERIES:
        return InputType.QUERY
    if last in DOCUMENTS:
        return InputType.DOCUMENT
    if value in OTHERS:
        return InputType.UNSTATED
    raise InvalidInput(f"{name} must be one of {EXAMPLES}.", param=name)


def type_of_prompt(name: str | None) -> InputType:
    """Return what texts are by the name of one of the model's prompts."""
    if name == "query":
        return InputType.QUERY
    return InputType.DOCUMENT if name in DOCUMENTS else InputType.UNSTATED


def truncation(
    *, per_query: int | None = None, per_doc: int | None = None, per_prompt: int | None = None, side: str | None = None
) -> Truncation:
    """Return the truncation limits, from fields in which 0 means none; for prompts -1 does, too.

    Raises:
        InvalidInput: texts are to be cut to a limit at their starts.
    """
    limits = Truncation(
        max_tokens_per_query=per_query or None,
        max_tokens_per_doc=per_doc or None,
        truncate_prompt_tokens=prompt_tokens(per_prompt, side),
    )
    if limits != NO_TRUNCATION:
        _check_side(side)
    return limits


def prompt_tokens(most: int | None, side: str | None = None) -> int | None:
    """Return the limit of `truncate_prompt_tokens`; None if it sets none. Raises as `truncation`."""
    if most is None or most <= 0:
        return None
    _check_side(side)
    return most


def _check_side(side: str | None) -> None:
    if not may_truncate(side=side):
        raise InvalidInput(
            "truncation_side must be right where a limit is set: texts are cut at their ends.", param="truncation_side"
        )


def overflow(*truncate: str | bool | None, side: str | None = None) -> OverflowPolicy:
    """Return the overflow policy; truncation by default. The arguments are those of `may_truncate`."""
    return OverflowPolicy.TRUNCATE if may_truncate(*truncate, side=side) else OverflowPolicy.ERROR


def may_truncate(*truncate: str | bool | None, side: str | None = None) -> bool:
    """Return whether the end of a text that is too long may be cut; a text whose start is to be cut has to fit.

    Args:
        truncate: The fields that say so: booleans, or Cohere's and NVIDIA's NONE, START and END.
        side: The side to cut, left or right.

    Raises:
        InvalidInput: a value is none of these.
    """
    return (side is None or side.lower() == "right") and all(map(_may_truncate, truncate))


def _may_truncate(truncate: str | bool | None) -> bool:
    if truncate is None or isinstance(truncate, bool):
        return truncate is not False
    if truncate.upper() not in {"NONE", "START", "END"}:
        raise InvalidInput("truncate must be END, START or NONE (or true or false).", param="truncate")
    return truncate.upper() == "END"


def usage(num_tokens: int) -> TokenUsage:
    """Return the counts in OpenAI's fields."""
    return {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
