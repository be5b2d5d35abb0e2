"""Splits groups into batches of documents, sends several at once, and merges their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shortlist.cli.input import InputGroup
from shortlist.cli.output import RankedGroup
from shortlist.client import AsyncClient, NotRanked, RankedText, Ranking, RerankRequest
from shortlist.errors import EngineError, InputTooLong, InvalidInput, RequestTooLarge, ServiceError

REQUEST_FIELDS: Final = ("query", "documents")
"""Fields that differ between requests: an error in one does not affect other requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOptions:
    """Options of all requests.

    Attributes:
        model: The model on a server; None for its default.
        instruction: Defines relevance; None for the model's default.
        top_n: Number of results per group; None for all.
        batch_size: Documents per request.
        concurrency: Maximum number of concurrent requests.
        timeout_s: Timeout of one request in seconds.
    """

    model: str | None
    instruction: str | None
    top_n: int | None
    batch_size: int
    concurrency: int
    timeout_s: float


class RequestBatch(NamedTuple):
    """The documents of a group that one request carries."""

    group: InputGroup
    start: int
    stop: int

    @property
    def is_last(self) -> bool:
        """Whether this is the last batch of its group."""
        return self.stop >= len(self.group.texts)


@dataclass(slots=True)
class _Draft:
    """Results of the batches of a group so far."""

    model: str | None = None
    results: list[RankedText] = field(default_factory=list)
    failed: list[NotRanked] = field(default_factory=list)
    truncated: list[int] = field(default_factory=list)
    error: ServiceError | None = None

    def add(self, batch: RequestBatch, answer: Ranking | ServiceError) -> None:
        """Add one batch's answer; errors of its documents are recorded in the draft.

        Raises:
            ServiceError: the error affects all requests.
        """
        if isinstance(answer, ServiceError):
            if not is_request_error(answer):
                raise answer
            self.error = self.error or answer
            return
        line_indices = [text.index for text in batch.group.texts[batch.start : batch.stop]]
        self.model = answer.model
        self.results += [RankedText(line_indices[each.index], each.score, each.text) for each in answer.results]
        self.failed += [NotRanked(line_indices[each.index], each.message) for each in answer.failed]
        self.truncated += [line_indices[index] for index in answer.truncated]

    def finished(self, group: InputGroup, top_n: int | None) -> RankedGroup:
        """Return the group, ranked over all its batches; equal scores stay in order."""
        if self.error is not None:
            return RankedGroup(group=group, error=self.error)
        results = sorted(self.results, key=lambda result: -result.score)
        return RankedGroup(
            group=group,
            model=self.model,
            results=tuple(results[:top_n]),
            failed=tuple(self.failed),
            truncated=tuple(self.truncated),
        )


def is_request_error(error: ServiceError) -> bool:
    """Return whether an error concerns the texts of one request, so that other requests can succeed."""
    if isinstance(error, InvalidInput):
        return error.param is not None and error.param.startswith(REQUEST_FIELDS)
    return isinstance(error, InputTooLong | RequestTooLarge) or type(error) is EngineError


async def rank_all(
    client: AsyncClient, groups: AsyncIterable[InputGroup], options: RankOptions
) -> AsyncGenerator[tuple[RequestBatch, RankedGroup | None], None]:
    """Yield every answered batch in order, the last one of a group with the ranked group.

    Raises:
        ServiceError: the source fails, or an error affects all requests.
    """
    pending: deque[RequestBatch] = deque()

    async def requests() -> AsyncIterator[RerankRequest]:
        async for group in groups:
            for start in range(0, len(group.texts), options.batch_size):
                batch = RequestBatch(group, start, min(start + options.batch_size, len(group.texts)))
                pending.append(batch)
                yield _request(batch, options)

    draft = _Draft()
    answers = client.rerank_many(requests(), concurrency=options.concurrency, timeout_s=options.timeout_s)
    async with aclosing(answers):
        async for done in answers:
            batch = pending.popleft()
            draft.add(batch, done.answer)
            if batch.is_last:
                yield batch, draft.finished(batch.group, options.top_n)
                draft = _Draft()
            else:
                yield batch, None


def _request(batch: RequestBatch, options: RankOptions) -> RerankRequest:
    return RerankRequest(
        query=batch.group.query,
        documents=[text.text for text in batch.group.texts[batch.start : batch.stop]],
        model=options.model,
        instruction=options.instruction,
        top_n=options.top_n,
    )
