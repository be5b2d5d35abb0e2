"""Pairs of a query and a document each, scored as they stand: reranking without a ranking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shortlist.scheduler.cache import Entry
from shortlist.service.compute import Found, Request, compute
from shortlist.service.rerank import relevance, request_of
from shortlist.service.stack import Stack
from shortlist.types import Encoded, RerankTask, Scored, ScoreOutcome, ScoreTask, Task


@dataclass(frozen=True, slots=True)
class _Asked:
    """What pairs have in common that are spelled together."""

    query: str
    instruction: str | None


async def score(stack: Stack, task: ScoreTask) -> ScoreOutcome:
    """Score every pair with this model; all of them are one request, however many queries there are.

    A pair's score is that of the same query and document in a ranking, and what one remembers, the other knows. Pairs that
    carry the model's frame already are not framed twice.

    Raises:
        What `service.rerank.rerank` raises; here the error of one pair is the error of all.
    """
    computed = await compute(stack, _request(stack, task))
    stack.metrics.documents.labels(stack.name, Task.RERANK.value).inc(len(task.pairs))
    stack.metrics.truncated.labels(stack.name).inc(len(computed.truncated))
    return ScoreOutcome(
        model=stack.name,
        scores=[_scored(stack, found) for found in computed.found],
        truncated=computed.truncated,
        usage=computed.usage,
        timing=computed.timing,
    )


def _request(stack: Stack, task: ScoreTask) -> Request:
    """Return the requests of all queries as one."""
    asked, documents = zip(*(_pair(stack, task, *pair) for pair in task.pairs), strict=True)
    grouped = _grouped(asked, range(len(asked)))
    parts = {each: _part(stack, task, each, [documents[index] for index in own]) for each, own in grouped.items()}
    names = {index: name for each, own in grouped.items() for index, name in zip(own, parts[each].names, strict=True)}
    place_of = {index: place for own in grouped.values() for place, index in enumerate(own)}

    def encode(positions: Sequence[int]) -> list[Encoded]:
        encoded: dict[int, Encoded] = {}
        for each, wanted in _grouped(asked, positions).items():
            encoded |= zip(wanted, parts[each].encode([place_of[index] for index in wanted]), strict=True)
        return [encoded[index] for index in positions]

    return Request(
        task=Task.RERANK,
        texts=documents,
        names=[names[index] for index in range(len(asked))],
        overhead_chars=sum(part.overhead_chars for part in parts.values()),
        encode=encode,
        options=task.options,
    )


def _pair(stack: Stack, task: ScoreTask, query: str, document: str) -> tuple[_Asked, str]:
    """Return a pair in its caller's own words."""
    parts = stack.encoder.strip_template(query, document)
    if parts is None:
        return _Asked(query, task.instruction), document
    return _Asked(parts.query, parts.instruction), parts.document


def _part(stack: Stack, task: ScoreTask, asked: _Asked, documents: Sequence[str]) -> Request:
    """Return the request of one query."""
    one = RerankTask(
        query=asked.query,
        documents=tuple(documents),
        on_overflow=task.on_overflow,
        truncation=task.truncation,
    )
    is_own = asked.instruction != task.instruction
    return request_of(stack, one, stack.encoder.template(asked.instruction, None if is_own else task.preset))


def _grouped(asked: Sequence[_Asked], positions: Iterable[int]) -> dict[_Asked, list[int]]:
    groups: dict[_Asked, list[int]] = {}
    for index in positions:
        groups.setdefault(asked[index], []).append(index)
    return groups


def _scored(stack: Stack, found: Found) -> Scored:
    if not isinstance(found, Entry):
        raise found.with_traceback(None)  # it may be the error of other requests too
    assert isinstance(found.value, float), "A rerank job's values are scores. This is a bug."
    return Scored(relevance(found.value, stack.engine.info.score_scale), found.value)
