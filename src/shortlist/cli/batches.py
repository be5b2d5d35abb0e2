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
from shortlist.errors import BodyTooLarge, EngineError, InputTooLong, InvalidInput, ServiceError

OWN_FIELDS: Final = ("query", "documents")
"""Fields that differ from one request to the next: one that is wrong says nothing about the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOptions:
    """Options of all requests.

    Attributes:
        model: Whom a server is to ask; None for its default.
        instruction: What counts as relevant; None for the model's own.
        top_n: How many results are wanted of each; None for all.
        batch_size: Documents in one request.
        concurrency: Requests on their way at once.
        timeout_s: Seconds that one may take.
    """

    model: str | None
    instruction: str | None
    top_n: int | None
    batch_size: int
    concurrency: int
    timeout_s: float


class RequestBatch(NamedTuple):
    """Some of a group's documents, in one request."""

    group: InputGroup
    start: int
    stop: int

    @property
    def is_last(self) -> bool:
        """Whether the group ends here."""
        return self.stop >= len(self.group.texts)


@dataclass(slots=True)
class _Draft:
    """A group of which some batches have been answered."""

    model: str | None = None
    results: list[RankedText] = field(default_factory=list)
    failed: list[NotRanked] = field(default_factory=list)
    truncated: list[int] = field(default_factory=list)
    error: ServiceError | None = None

    def add(self, batch: RequestBatch, answer: Ranking | ServiceError) -> None:
        """Add one batch's answer; errors of its documents are recorded in the draft.

        Raises:
            ServiceError: it is wrong with every other request, too.
        """
        if isinstance(answer, ServiceError):
            if not is_its_own(answer):
                raise answer
            self.error = self.error or answer
            return
        numbers = [text.index for text in batch.group.texts[batch.start : batch.stop]]
        self.model = answer.model
        self.results += [RankedText(numbers[each.index], each.score, each.text) for each in answer.results]
        self.failed += [NotRanked(numbers[each.index], each.message) for each in answer.failed]
        self.truncated += [numbers[index] for index in answer.truncated]

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


def is_its_own(error: ServiceError) -> bool:
    """Return whether an error is about the texts of one request, so that the next one may well be answered."""
    if isinstance(error, InvalidInput):
        return error.param is not None and error.param.startswith(OWN_FIELDS)
    return isinstance(error, InputTooLong | BodyTooLarge) or type(error) is EngineError


async def rank_all(
    client: AsyncClient, groups: AsyncIterable[InputGroup], options: RankOptions
) -> AsyncGenerator[tuple[RequestBatch, RankedGroup | None], None]:
    """Yield every batch that is answered, with its group once that is ranked, in order.

    Raises:
        ServiceError: the source does; or there is no way to go on.
    """
    asked: deque[RequestBatch] = deque()

    async def requests() -> AsyncIterator[RerankRequest]:
        async for group in groups:
            for start in range(0, len(group.texts), options.batch_size):
                batch = RequestBatch(group, start, min(start + options.batch_size, len(group.texts)))
                asked.append(batch)
                yield _request(batch, options)

    draft = _Draft()
    answers = client.rerank_many(requests(), concurrency=options.concurrency, timeout_s=options.timeout_s)
    async with aclosing(answers):
        async for done in answers:
            batch = asked.popleft()
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
