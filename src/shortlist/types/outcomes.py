"""Results of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shortlist.errors import ServiceError
from shortlist.types.operations import Operation, SparseVector, Vector
from shortlist.types.prompts import DocumentStats, PromptTemplate, Span


@dataclass(frozen=True, slots=True)
class Timing:
    """Time of one request by stage. Units: seconds. `compute_s` counts batches shared with other requests in full."""

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Processed tokens: every document's full prompt, shared prefixes counted each time, cached documents included."""

    num_tokens: int
    num_cached: int = 0


class Ranked(NamedTuple):
    """One ranked document. A tuple, because hundreds are made for a request that costs little else.

    Attributes:
        index: Position in the caller's list.
        score: Relevance in 0..1.
        raw_score: The model's output before it is mapped to 0..1: log-odds for a cross-encoder, cosine for an embedder.
    """

    index: int  # type: ignore[assignment]  # hides `tuple.index`, which rankings do not use
    score: float
    raw_score: float


@dataclass(frozen=True, slots=True)
class Failed:
    """One input that failed, with its error; the other inputs are not affected."""

    index: int
    error: ServiceError


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankOutcome:
    """The ranking: best first, ties in the caller's order, cut to `top_n`.

    Attributes:
        model: The name of the model that ranked.
        results: The ranking.
        failed: Documents without a score.
        document_stats: How much of every document was processed, in the caller's order; None for failed ones.
        template: The prompt template that was applied.
        usage: Token counts.
        timing: Time by stage.
        model_scores: Relevance of each result before it was fused with its prior; None without priors.
    """

    model: str
    results: Sequence[Ranked]
    failed: Sequence[Failed]
    document_stats: Sequence[DocumentStats | None]
    template: PromptTemplate
    usage: Usage
    timing: Timing
    model_scores: Sequence[float] | None = None

    @property
    def truncated(self) -> list[int]:
        """Positions of truncated documents."""
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
        truncated: Positions of the pairs with truncated documents.
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
        text: Its text.
        is_special: Whether it is a special token.
        span: Its characters in the text; None for an added token.
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
        logits: The components of the raw score, by name.
        prompt: The prompt with special tokens as text; that of the best window, if there are several.
        parts: The prompt's parts in order, each token as id and text; empty for engines that tokenize themselves.
        stats: How much of the document was processed.
        num_escaped: Special tokens in the document that were escaped.
        is_cached: Whether the score came from the cache.
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
class SparseOutcome:
    """One sparse vector per text, in the caller's order."""

    model: str
    vectors: Sequence[SparseVector]
    truncated: Sequence[int]
    usage: Usage
    timing: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What the outside may know about a served model."""

    name: str
    aliases: tuple[str, ...]
    operations: frozenset[Operation]
    max_model_len: int
    dimensions: int | None
    created_s: int


def basename(name: str) -> str:
    """Return the last part of a model's name, in small letters: `OWNER/NAME`, `NAME` and a folder's path name one model."""
    return name.rstrip("/").rsplit("/", 1)[-1].lower()
