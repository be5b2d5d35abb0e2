"""What a caller gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shortlist.errors import ServiceError
from shortlist.types.tasks import Task
from shortlist.types.work import DocumentStats, PromptTemplate, Span, Vector


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


class Ranked(NamedTuple):
    """One ranked document. A tuple, because hundreds are made for a request that costs little else.

    Attributes:
        index: Position in the caller's list.
        score: Relevance in 0..1.
        raw_score: What the model said before it was squeezed into 0..1: log-odds for a cross-encoder, cosine for an embedder.
    """

    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody asks a ranking for
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
        document_stats: What was read of every document, in the caller's order; None for those that failed.
        template: What was put around the words.
        usage: What was read.
        timing: Where the time went.
    """

    model: str
    results: Sequence[Ranked]
    failed: Sequence[Failed]
    document_stats: Sequence[DocumentStats | None]
    template: PromptTemplate
    usage: Usage
    timing: Timing

    @property
    def truncated(self) -> list[int]:
        """Positions of the documents whose end was not read."""
        return [index for index, stats in enumerate(self.document_stats) if stats is not None and stats.is_truncated]


@dataclass(frozen=True, slots=True)
class Scored:
    """One scored pair; the numbers are those of `Ranked`."""

    score: float
    raw_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOutcome:
    """One score per pair, in the caller's order.

    Attributes:
        truncated: Positions of the pairs whose documents were not read to their end.
    """

    model: str
    scores: Sequence[Scored]
    truncated: Sequence[int]
    usage: Usage
    timing: Timing


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text.

    Attributes:
        id: Its id.
        text: What it stands for.
        is_special: Whether it is a control token.
        span: The characters of the text that it spells; None for one that was added.
    """

    id: int
    text: str
    is_special: bool
    span: Span | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeOutcome:
    """The tokens of every text, in the caller's order."""

    model: str
    max_model_len: int
    tokens: Sequence[Sequence[Token]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetokenizeOutcome:
    """The text of every list of ids, in the caller's order."""

    model: str
    texts: Sequence[str]


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
        stats: How much of the document was read.
        num_escaped: Control tokens that were written out in the document, and read as plain characters.
        is_cached: Whether the score was remembered.
    """

    index: int
    score: float
    raw_score: float
    logits: Mapping[str, float]
    prompt: str
    parts: Mapping[str, Sequence[tuple[int, str]]]
    stats: DocumentStats
    num_escaped: int
    is_cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How every document of a request gets its score, in the caller's order."""

    model: str
    template: PromptTemplate
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


def basename(name: str) -> str:
    """Return the last part of a model's name, in small letters: `OWNER/NAME`, `NAME` and a folder's path name one model."""
    return name.rstrip("/").rsplit("/", 1)[-1].lower()
