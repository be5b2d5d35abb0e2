"""The server's answers as values for `draw`, with raw scores, passages and cache hits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import httpx2

from shortlist.client import NotRanked, TimingMs
from shortlist.client.http_calls import RERANK_ANSWER, read_answer, read_num_tokens, read_number, read_timing
from shortlist.errors import ServiceError, UpstreamError
from shortlist.schemas.rerank import RerankAnswer
from shortlist.ui.form import Question
from shortlist.ui.session import Session

CACHE_HEADER: Final = "x-cache-hits"
NO_TIMING: Final = TimingMs()


@dataclass(frozen=True, slots=True)
class Passage:
    """The best passage of a long document, in character offsets, and the number of its passages."""

    start: int
    end: int
    num_passages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedDocument:
    """A ranked document.

    Attributes:
        index: Position in the request.
        score: Relevance in 0..1.
        raw_score: Log-odds or a cosine; None if not in the answer.
        text: The document.
        is_truncated: Whether only its beginning was scored.
        passage: The best passage, if it was split into several.
    """

    index: int
    score: float
    text: str
    raw_score: float | None = None
    is_truncated: bool = False
    passage: Passage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRanking:
    """The answer to a question.

    Attributes:
        question: The request.
        model: The model's name.
        results: Best first.
        failed: Documents without a score.
        num_tokens: Input tokens.
        num_cached: Documents with a cached score; None if not in the answer.
        timing_ms: Time per stage.
    """

    question: Question
    model: str
    results: Sequence[RankedDocument]
    failed: Sequence[NotRanked] = ()
    num_tokens: int = 0
    num_cached: int | None = None
    timing_ms: TimingMs = NO_TIMING


async def rank(session: Session, question: Question) -> PageRanking:
    """Return the server's ranking.

    Raises:
        ServiceError: the error the server answered with.
    """
    response = await session.request("/v1/rerank", {**question.body, "return_documents": False, "return_logits": True})
    return _parsed_ranking(question, response)


async def rank_both(session: Session, left: Question, right: Question) -> tuple[PageRanking, PageRanking]:
    """Return two rankings, requested concurrently.

    Raises:
        ServiceError: the first error the server answered with.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(rank(session, question)) for question in (left, right)]
    except* ServiceError as errors:
        raise errors.exceptions[0] from None
    return both[0].result(), both[1].result()


def _parsed_ranking(question: Question, response: httpx2.Response) -> PageRanking:
    try:
        return _to_page_ranking(question, read_answer(RERANK_ANSWER, response), response.headers)
    except (IndexError, ValueError) as error:
        raise UpstreamError("The server's response is invalid.", is_retryable=False) from error


def _to_page_ranking(question: Question, answer: RerankAnswer, headers: httpx2.Headers) -> PageRanking:
    truncated = frozenset(answer.get("truncated_documents", []))
    passages = {
        each["index"]: Passage(each["best_chunk"]["start"], each["best_chunk"]["end"], each["num_chunks"])
        for each in answer.get("chunked_documents", [])
        if each["num_chunks"] > 1
    }
    num_cached = read_number(headers.get(CACHE_HEADER))
    raw_scores: Sequence[float | None] = answer.get("logits") or [None] * len(answer["results"])
    return PageRanking(
        question=question,
        model=answer["model"],
        results=tuple(
            RankedDocument(
                index=result["index"],
                score=result["relevance_score"],
                text=question.documents[result["index"]],
                raw_score=raw,
                is_truncated=result["index"] in truncated,
                passage=passages.get(result["index"]),
            )
            for result, raw in zip(answer["results"], raw_scores, strict=True)
        ),
        failed=tuple(NotRanked(each["index"], each["message"]) for each in answer.get("failed_documents", [])),
        num_tokens=read_num_tokens(answer.get("usage")),
        num_cached=None if num_cached is None else int(num_cached),
        timing_ms=read_timing(headers),
    )
