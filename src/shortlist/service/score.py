"""Score: query-document pairs in, scores out, without a ranking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shortlist.scheduler.cache import Entry
from shortlist.scheduler.served_model import ServedModel
from shortlist.service.compute import ComputeRequest, TextValue, compute
from shortlist.service.rerank import relevance, request_of
from shortlist.types import Encoded, RerankTask, Scored, ScoreOutcome, ScoreTask, Task


@dataclass(frozen=True, slots=True)
class _Asked:
    """The shared part of pairs that are tokenized together."""

    query: str
    instruction: str | None


async def score(served: ServedModel, task: ScoreTask) -> ScoreOutcome:
    """Score every pair with this model; all of them are one request, however many queries there are.

    A pair's score is that of the same query and document in a ranking, and what one remembers, the other knows. Pairs that
    already have the model's template do not get it twice.

    Raises:
        What `service.rerank.rerank` raises; here the error of one pair is the error of all.
    """
    computed = await compute(served, _request(served, task))
    served.metrics.documents.labels(served.name, Task.RERANK.value).inc(len(task.pairs))
    served.metrics.truncated.labels(served.name).inc(len(computed.truncated))
    return ScoreOutcome(
        model=served.name,
        scores=[_scored(served, found) for found in computed.found],
        truncated=computed.truncated,
        usage=computed.usage,
        timing=computed.timing,
    )


def _request(served: ServedModel, task: ScoreTask) -> ComputeRequest:
    """Return the requests of all queries as one."""
    asked, documents = zip(*(_pair(served, task, *pair) for pair in task.pairs), strict=True)
    grouped = _grouped(asked, range(len(asked)))
    parts = {each: _part(served, task, each, [documents[index] for index in own]) for each, own in grouped.items()}
    keys = {index: name for each, own in grouped.items() for index, name in zip(own, parts[each].keys, strict=True)}
    location_of = {index: place for own in grouped.values() for place, index in enumerate(own)}

    def encode(positions: Sequence[int]) -> list[Encoded]:
        encoded: dict[int, Encoded] = {}
        for each, wanted in _grouped(asked, positions).items():
            encoded |= zip(wanted, parts[each].encode([location_of[index] for index in wanted]), strict=True)
        return [encoded[index] for index in positions]

    return ComputeRequest(
        task=Task.RERANK,
        texts=documents,
        keys=[keys[index] for index in range(len(asked))],
        overhead_chars=sum(part.overhead_chars for part in parts.values()),
        encode=encode,
        options=task.options,
    )


def _pair(served: ServedModel, task: ScoreTask, query: str, document: str) -> tuple[_Asked, str]:
    """Return a pair in its caller's own words."""
    parts = served.encoder.strip_template(query, document)
    if parts is None:
        return _Asked(query, task.instruction), document
    return _Asked(parts.query, parts.instruction), parts.document


def _part(served: ServedModel, task: ScoreTask, asked: _Asked, documents: Sequence[str]) -> ComputeRequest:
    """Return the request of one query."""
    one = RerankTask(query=asked.query, documents=tuple(documents), on_overflow=task.on_overflow, truncation=task.truncation)
    is_own = asked.instruction != task.instruction
    return request_of(served, one, served.encoder.template(asked.instruction, None if is_own else task.preset))


def _grouped(asked: Sequence[_Asked], positions: Iterable[int]) -> dict[_Asked, list[int]]:
    groups: dict[_Asked, list[int]] = {}
    for index in positions:
        groups.setdefault(asked[index], []).append(index)
    return groups


def _scored(served: ServedModel, found: TextValue) -> Scored:
    if not isinstance(found, Entry):
        raise found.with_traceback(None)  # it may be the error of other requests too
    assert isinstance(found.value, float), "A rerank job's values are scores. This is a bug."
    return Scored(relevance(found.value, served.engine.info.score_scale), found.value)
