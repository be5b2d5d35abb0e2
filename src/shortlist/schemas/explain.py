"""The answer of `/v1/explain`. The request is `RerankRequestBody`."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from shortlist.schemas.rerank import CharSpan, PromptUsed, TokenUsage


class InstructedPrompt(PromptUsed):
    """The prompt template with its instruction; null if the model takes none."""

    instruction: str | None


class TokenText(TypedDict):
    """A token id, and its text."""

    id: int
    text: str


class PromptPart(TypedDict):
    """A part of the prompt: its first and last tokens, or all of a short one as `first`."""

    name: str
    num_tokens: int
    first: list[TokenText]
    last: list[TokenText]


class BestChunk(TypedDict, total=False):
    """The best window of a document that was scored in several."""

    best_chunk: CharSpan


class ExplainedDocument(TypedDict):
    """A document's score, and what the model read for it."""

    index: int
    relevance_score: float
    log_odds: float
    logits: dict[str, float]
    cached: bool
    tokens_used: int
    tokens_total: int | None
    truncated: bool
    num_chunks: int
    best_chunk: NotRequired[CharSpan]
    neutralised_tokens: int
    prompt: str
    parts: list[PromptPart]


class ExplainAnswer(TypedDict):
    """Every document's prompt, ids, logits and score, in the order of the request."""

    id: str
    object: str
    model: str
    prompt: InstructedPrompt
    documents: list[ExplainedDocument]
    usage: TokenUsage
