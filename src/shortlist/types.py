"""The frozen values that cross the walls between rooms.

This module knows what travels and what it is called. It knows nothing of HTTP, tokenizers, queues or tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from shortlist.errors import ServiceError

Ids = npt.NDArray[np.int32]
Vector = npt.NDArray[np.float32]


class Task(StrEnum):
    """What a model can be asked to do."""

    RERANK = "rerank"
    EMBED = "embed"


# -- what a caller asks for ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankTask:
    """Rank documents for a query.

    Attributes:
        query: What is searched for; not empty.
        documents: The candidates, in the caller's order; at least one.
        model: Name or alias, or None for the default reranker.
        instruction: What counts as relevant, in words; None means the model's own default.
        top_n: How many results to return; None means all.
        truncate: Whether a document that is too long may be cut; otherwise it is an error.
        max_tokens_per_doc: Cut every document to this many tokens; None means as much as the model reads.
        timeout_s: Seconds the caller is willing to wait; None means the server's own limits apply.
    """

    query: str
    documents: tuple[str, ...]
    model: str | None = None
    instruction: str | None = None
    top_n: int | None = None
    truncate: bool = True
    max_tokens_per_doc: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedTask:
    """Turn texts into vectors.

    Attributes:
        texts: What to embed; at least one.
        model: Name or alias, or None for the default embedder.
        is_query: Whether the texts are queries. Qwen3-Embedding frames queries with an instruction, documents not at all.
        instruction: The instruction for queries; setting it implies `is_query`.
        dimensions: Cut vectors to this many leading dimensions and normalise again; None means the model's own width.
        truncate: Whether a text that is too long may be cut; otherwise it is an error.
        timeout_s: Seconds the caller is willing to wait.
    """

    texts: tuple[str, ...]
    model: str | None = None
    is_query: bool = False
    instruction: str | None = None
    dimensions: int | None = None
    truncate: bool = True
    timeout_s: float | None = None


# -- what an engine reads -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class TokenHead:
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
    """One document after its request's head, as token ids. The engine reads `head.ids` followed by `ids`.

    Shapes:
        ids: [num_tokens] int32; at least one.
    """

    head: TokenHead
    ids: Ids
    is_truncated: bool = False

    @property
    def num_tokens(self) -> int:
        """How many tokens these are."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class TextHead:
    """The query of one request, for engines that do their own tokenising. `num_tokens` is what it costs."""

    text: str
    num_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class TextPrompt:
    """One document of a request, for engines that do their own tokenising. `num_tokens` is what it costs."""

    head: TextHead
    text: str
    num_tokens: int
    is_truncated: bool = False


Prompt = TokenPrompt | TextPrompt


# -- what the scheduler moves -------------------------------------------------------------------------------------------


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
        heads = {id(item.prompt.head): item.prompt.head.num_tokens for item in self.items}
        return sum(heads.values()) + sum(item.prompt.num_tokens for item in self.items)


Value = float | Vector
Outcome = Value | ServiceError
"""What became of one item: its score or vector, or the error that is its own."""


# -- what a caller gets -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timing:
    """Where one request's time went. Units: seconds. `compute_s` counts steps shared with other requests in full."""

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What was read: every document's own prompt in full, shared parts counted each time, cached ones too."""

    num_tokens: int
    num_cached: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """One ranked document.

    Attributes:
        index: Position in the caller's list.
        score: Relevance in 0..1.
        raw_score: What the model said before it was squeezed into 0..1: log-odds for a cross-encoder, cosine for an embedder.
    """

    index: int
    score: float
    raw_score: float


@dataclass(frozen=True, slots=True)
class Failed:
    """One input that could not be computed, and why; its neighbours are not affected."""

    index: int
    error: ServiceError


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankOutcome:
    """The ranking: best first, ties in the caller's order, cut to `top_n`."""

    model: str
    results: Sequence[Ranked]
    failed: Sequence[Failed]
    truncated: Sequence[int]
    usage: Usage
    timing: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOutcome:
    """One unit-length vector per text, in the caller's order.

    Shapes:
        vectors: each [dimensions] float32.
    """

    model: str
    vectors: Sequence[Vector]
    truncated: Sequence[int]
    usage: Usage
    timing: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What the outside may know about a served model."""

    name: str
    aliases: tuple[str, ...]
    tasks: frozenset[Task]
    max_model_len: int
    dimensions: int | None
    created_s: int
