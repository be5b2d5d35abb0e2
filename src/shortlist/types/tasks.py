"""What a caller asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Task(StrEnum):
    """What a model can be asked to do."""

    RERANK = "rerank"
    EMBED = "embed"


class OverflowPolicy(StrEnum):
    """What becomes of a document that is longer than the model reads."""

    TRUNCATE = "truncate"
    """Its end is cut."""
    CHUNK = "chunk"
    """It is read in overlapping windows, and its best window counts."""
    ERROR = "error"
    """The request is refused."""


class Priority(StrEnum):
    """How urgent a request is, beside others."""

    INTERACTIVE = "interactive"
    """Somebody waits for it."""
    BATCH = "batch"
    """It takes what the interactive ones leave, and a small share when they leave nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """How a request is to be served, whatever it asks for.

    Attributes:
        caller: Who asks, as a short name that gives nothing away; callers share the engine fairly.
        priority: How urgent it is.
        timeout_s: Seconds the caller is willing to wait; None means the server's own limits apply.
        is_partial: Whether what is done when the time is up is an answer, the rest being marked as failed.
    """

    caller: str = ""
    priority: Priority = Priority.INTERACTIVE
    timeout_s: float | None = None
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """How much a caller wants read of texts that would fit; their ends are cut. None: all of it.

    Attributes:
        max_tokens_per_query: Of the query, in its own tokens.
        max_tokens_per_doc: Of a document, in its own tokens; of each of its windows, where it is read in windows.
        truncate_prompt_tokens: Of the whole prompt, frame included; the document gives way.
    """

    max_tokens_per_query: int | None = None
    max_tokens_per_doc: int | None = None
    truncate_prompt_tokens: int | None = None


NO_TRUNCATION: Final = Truncation()


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankTask:
    """Rank documents for a query.

    Attributes:
        query: What is searched for; not empty.
        documents: The candidates, in the caller's order; at least one.
        model: Name or alias, or None for the default reranker.
        instruction: What counts as relevant, in words.
        preset: The name of an instruction that the server knows; neither means the model's own default.
        top_n: How many results to return; None means all.
        on_overflow: What becomes of a document that is too long.
        truncation: What the caller has cut although it may fit.
        with_totals: Whether to count all tokens of documents that were not read to their end.
        options: How it is to be served.
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
    options: RequestOptions = RequestOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTask:
    """Score pairs of a query and a document each, as they stand.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedTask:
    """Turn texts into vectors.

    Attributes:
        texts: What to embed; at least one.
        model: Name or alias, or None for the default embedder.
        is_query: Whether the texts are queries. Qwen3-Embedding frames queries with an instruction, documents not at all.
        instruction: The instruction for queries; setting it implies `is_query`.
        preset: The name of an instruction that the server knows; setting it implies `is_query`.
        dimensions: Cut vectors to this many leading dimensions and normalise again; None means the model's own width.
        truncate: Whether a text that is too long may be cut; otherwise it is an error.
        truncate_prompt_tokens: Read this many tokens at most, frame included; None means all that fit.
        options: How it is to be served.
    """

    texts: tuple[str, ...]
    model: str | None = None
    is_query: bool = False
    instruction: str | None = None
    preset: str | None = None
    dimensions: int | None = None
    truncate: bool = True
    truncate_prompt_tokens: int | None = None
    options: RequestOptions = RequestOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeTask:
    """Spell texts as a model's token ids.

    Attributes:
        texts: What to spell; at least one.
        model: Name or alias, or None for the default model.
        with_special: Whether to add what the model's tokenizer adds around a text of its own accord.
    """

    texts: tuple[str, ...]
    model: str | None = None
    with_special: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DetokenizeTask:
    """Write token ids as text.

    Attributes:
        ids: Lists of ids; at least one list.
        model: Name or alias, or None for the default model.
        skip_special: Whether to leave control tokens out.
    """

    ids: tuple[tuple[int, ...], ...]
    model: str | None = None
    skip_special: bool = True
