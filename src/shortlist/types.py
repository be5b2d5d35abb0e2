"""The frozen values that cross the walls between rooms.

This module knows what travels and what it is called. It knows nothing of HTTP, tokenizers, queues or tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Overflow(StrEnum):
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


# -- what a caller asks for ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
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
        max_tokens_per_doc: Read this many tokens of a document at most (of each of its windows); None means all that fit.
        with_totals: Whether to count all tokens of documents that were not read to their end.
        terms: How it is to be served.
    """

    query: str
    documents: tuple[str, ...]
    model: str | None = None
    instruction: str | None = None
    preset: str | None = None
    top_n: int | None = None
    on_overflow: Overflow = Overflow.TRUNCATE
    max_tokens_per_doc: int | None = None
    with_totals: bool = False
    terms: Terms = Terms()


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
        terms: How it is to be served.
    """

    texts: tuple[str, ...]
    model: str | None = None
    is_query: bool = False
    instruction: str | None = None
    preset: str | None = None
    dimensions: int | None = None
    truncate: bool = True
    terms: Terms = Terms()


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
        num_neutralised: Control tokens that were written out in it, and spelled as plain characters; those of query and
            instruction are counted with the first document.
    """

    prompts: tuple[Prompt, ...]
    num_tokens: int
    num_tokens_total: int | None
    spans: tuple[Span, ...] = ()
    is_truncated: bool = False
    num_neutralised: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
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
class Framing:
    """The words around a caller's words.

    Attributes:
        template: The frame and its version.
        preset: The name of the instruction; `custom` for the caller's own, `none` for models that take none.
        instruction: The instruction itself, None for models that take none.
    """

    template: str
    preset: str
    instruction: str | None


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
    """The ranking: best first, ties in the caller's order, cut to `top_n`.

    Attributes:
        model: The name of the model that ranked.
        results: The ranking.
        failed: Documents that have no score.
        readings: What was read of every document, in the caller's order; None for those that failed.
        framing: What was put around the words.
        usage: What was read.
        timing: Where the time went.
    """

    model: str
    results: Sequence[Ranked]
    failed: Sequence[Failed]
    readings: Sequence[Reading | None]
    framing: Framing
    usage: Usage
    timing: Timing

    @property
    def truncated(self) -> list[int]:
        """Positions of the documents whose end was not read."""
        return [index for index, reading in enumerate(self.readings) if reading is not None and reading.is_truncated]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """How one document gets its score.

    Attributes:
        index: Position in the caller's list.
        score: Relevance in 0..1.
        raw_score: Log-odds, or a cosine.
        logits: The numbers that the raw score is made of, by name.
        prompt: What the model reads, control tokens written out; of the best window, if there are several.
        parts: The prompt's parts in order, each token as its id and its text; empty when the engine tokenises for itself.
        reading: How much of the document was read.
        num_neutralised: Control tokens that were written out in the document, and read as plain characters.
        is_cached: Whether the score was remembered.
    """

    index: int
    score: float
    raw_score: float
    logits: Mapping[str, float]
    prompt: str
    parts: Mapping[str, Sequence[tuple[int, str]]]
    reading: Reading
    num_neutralised: int
    is_cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How every document of a request gets its score, in the caller's order."""

    model: str
    framing: Framing
    documents: Sequence[Explained]
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
