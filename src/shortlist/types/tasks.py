"""Tasks that a caller requests, and their options."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class OverflowPolicy(StrEnum):
    """How to treat a document that exceeds the model's maximum length."""

    TRUNCATE = "truncate"
    """Truncate its end."""
    CHUNK = "chunk"
    """Score overlapping windows; the best one counts."""
    ERROR = "error"
    """Refuse the request."""


class Priority(StrEnum):
    """Scheduling priority of a request."""

    INTERACTIVE = "interactive"
    """A user waits for the answer."""
    BATCH = "batch"
    """Background work: uses idle capacity, and a small share when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """Options that apply to every task.

    Attributes:
        caller: Anonymous caller id; callers share the engine fairly.
        priority: Scheduling priority.
        timeout_s: Deadline in seconds from now; None applies the server's own limits.
        is_partial: Whether to answer at the deadline with the finished items and mark the others as failed.
    """

    caller: str = ""
    priority: Priority = Priority.INTERACTIVE
    timeout_s: float | None = None
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """Token limits that a caller sets, beyond those of the model. None: no limit.

    Attributes:
        max_tokens_per_query: Limit of the query's own tokens.
        max_tokens_per_doc: Limit of a document's own tokens, or of each of its windows.
        truncate_prompt_tokens: Limit of the whole prompt including the template; the document is truncated.
    """

    max_tokens_per_query: int | None = None
    max_tokens_per_doc: int | None = None
    truncate_prompt_tokens: int | None = None


NO_TRUNCATION: Final = Truncation()


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankTask:
    """Rank documents for a query.

    Attributes:
        query: The query; not empty.
        documents: The candidates, in the caller's order; at least one.
        model: Name or alias, or None for the default reranker.
        instruction: Definition of relevance, in words.
        preset: Name of an instruction preset. Without instruction and preset the model's default applies.
        top_n: How many results to return; None means all.
        on_overflow: How to treat a document that is too long.
        truncation: Token limits set by the caller.
        with_totals: Whether to count all tokens of truncated documents.
        priors: One number in 0..1 per document, to fuse with its score; None for no fusion.
        prior_weight: The weight of the priors, in 0..1.
        options: Priority, deadline and caller.
    """

    query: str
    documents: tuple[str, ...]
    model: str | None = None
    instruction: str | None = None
    preset: str | None = None
    top_n: int | None = None
    on_overflow: OverflowPolicy = OverflowPolicy.TRUNCATE
    truncation: Truncation = NO_TRUNCATION
    with_totals: bool = False
    priors: tuple[float, ...] | None = None
    prior_weight: float = 0.0
    options: RequestOptions = RequestOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTask:
    """Score query-document pairs.

    Attributes:
        pairs: Queries, none of them empty, and documents; at least one pair.
        model, instruction, preset, on_overflow, truncation, options: As of `RerankTask`, for all pairs.
    """

    pairs: tuple[tuple[str, str], ...]
    model: str | None = None
    instruction: str | None = None
    preset: str | None = None
    on_overflow: OverflowPolicy = OverflowPolicy.TRUNCATE
    truncation: Truncation = NO_TRUNCATION
    options: RequestOptions = RequestOptions()


class InputType(StrEnum):
    """What the texts to embed are, which determines the model's prompt and route for them."""

    QUERY = "query"
    DOCUMENT = "document"
    UNSTATED = "unstated"
    """The model's default prompt, or its prompt for documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedTask:
    """Embed texts.

    Attributes:
        texts: What to embed; at least one.
        model: Name or alias, or None for the default embedder.
        input_type: What the texts are.
        prompt_name: Name of one of the model's prompts, instead of that for `input_type`; empty for none.
        instruction: The instruction for queries; setting it implies that they are.
        preset: Name of an instruction preset; setting it implies queries.
        dimensions: Truncate vectors to this many leading dimensions and normalise again; None keeps the model's width.
        truncate: Whether to truncate a text that is too long; otherwise it is an error.
        truncate_prompt_tokens: Token limit of the prompt including the template; None applies the model's limit.
        normalize: Whether to return vectors of unit length; None does so unless the model compares vectors by another measure
            than the cosine.
        max_tokens: Token limit of every text, as `truncate_prompt_tokens`, but a larger one than the model's is none, and with
            `truncate` off a longer text is an error.
        options: Priority, deadline and caller.
    """

    texts: tuple[str, ...]
    model: str | None = None
    input_type: InputType = InputType.UNSTATED
    prompt_name: str | None = None
    instruction: str | None = None
    preset: str | None = None
    dimensions: int | None = None
    truncate: bool = True
    truncate_prompt_tokens: int | None = None
    normalize: bool | None = None
    max_tokens: int | None = None
    options: RequestOptions = RequestOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeTask:
    """Tokenize texts.

    Attributes:
        texts: The texts; at least one.
        model: Name or alias, or None for the default model.
        with_special: Whether to add the tokenizer's own special tokens around each text.
        options: Deadline and caller.
    """

    texts: tuple[str, ...]
    model: str | None = None
    with_special: bool = True
    options: RequestOptions = RequestOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class DetokenizeTask:
    """Detokenize: token ids to text.

    Attributes:
        ids: Lists of ids; at least one list.
        model: Name or alias, or None for the default model.
        skip_special: Whether to omit special tokens.
        options: Deadline and caller.
    """

    ids: tuple[tuple[int, ...], ...]
    model: str | None = None
    skip_special: bool = True
    options: RequestOptions = RequestOptions()
