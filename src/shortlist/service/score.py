"""Score: query-document pairs in, scores out, without a ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shortlist.scheduler.cache import Entry
from shortlist.scheduler.served_model import ServedModel
from shortlist.scheduler.work import TextValue, Work
from shortlist.service.rerank import check_templated, relevance, request_of
from shortlist.types import RERANK, Encoded, RerankTask, Scored, ScoreOutcome, ScoreTask


@dataclass(frozen=True, slots=True)
class _PairGroup:
    """The shared part of pairs that are tokenized together."""

    query: str
    instruction: str | None


async def score(served: ServedModel, task: ScoreTask) -> ScoreOutcome:
    """Score every pair with this model, as one request for any number of queries.

    A pair scores as in a rerank request, and both share cache keys. Pairs that already carry the model's prompt template do
    not get it twice.

    Raises:
        What `service.rerank.rerank` raises; the error of one pair fails the request.
    """
    computed = await served.run(_request(served, task))
    served.metrics.documents.labels(served.name, RERANK.name).inc(len(task.pairs))
    served.metrics.truncated.labels(served.name).inc(len(computed.truncated))
    return ScoreOutcome(
        model=served.name,
        scores=[_scored(served, found) for found in computed.found],
        truncated=computed.truncated,
        usage=computed.usage,
        timing=computed.timing,
    )


def _request(served: ServedModel, task: ScoreTask) -> Work:
    """Return one request for all queries."""
    pair_groups, documents = zip(*_without_templates(served, task), strict=True)
    grouped = _grouped(pair_groups, range(len(pair_groups)))
    parts = {each: _part(served, task, each, [documents[index] for index in own]) for each, own in grouped.items()}
    keys = {index: key for each, own in grouped.items() for index, key in zip(own, parts[each].keys, strict=True)}
    location_of = {index: position for own in grouped.values() for position, index in enumerate(own)}

    def encode(positions: Sequence[int]) -> list[Encoded]:
        encoded: dict[int, Encoded] = {}
        for each, wanted in _grouped(pair_groups, positions).items():
            encoded |= zip(wanted, parts[each].encode([location_of[index] for index in wanted]), strict=True)
        return [encoded[index] for index in positions]

    return Work(
        operation=RERANK,
        texts=documents,
        keys=[keys[index] for index in range(len(pair_groups))],
        overhead_chars=sum(part.overhead_chars for part in parts.values()),
        encode=encode,
        options=task.options,
    )


def _without_templates(served: ServedModel, task: ScoreTask) -> Iterator[tuple[_PairGroup, str]]:
    """Yield the pairs without the prompt template.

    Raises:
        InvalidInput: a template is not this model's, or its query is too long to be read with every document.
    """
    plain: set[str] = set()
    num_uses = Counter(query for query, _ in task.pairs)
    for query, document in task.pairs:
        parts = None if query in plain else served.encoder.strip_template(query, document)
        if parts is None:
            plain.add(query)
            yield _PairGroup(query, task.instruction), document
            continue
        if num_uses[query] > 1:
            check_templated(query)
        yield _PairGroup(parts.query, parts.instruction), parts.document


def _part(served: ServedModel, task: ScoreTask, group: _PairGroup, documents: Sequence[str]) -> Work:
    """Return the request of one query."""
    one = RerankTask(query=group.query, documents=tuple(documents), on_overflow=task.on_overflow, truncation=task.truncation)
    has_own_instruction = group.instruction != task.instruction
    return request_of(served, one, served.encoder.template(group.instruction, None if has_own_instruction else task.preset))


def _grouped(pair_groups: Sequence[_PairGroup], positions: Iterable[int]) -> dict[_PairGroup, list[int]]:
    groups: dict[_PairGroup, list[int]] = {}
    for index in positions:
        groups.setdefault(pair_groups[index], []).append(index)
    return groups


def _scored(served: ServedModel, found: TextValue) -> Scored:
    if not isinstance(found, Entry):
        raise found.with_traceback(None)  # other requests may share the error
    assert isinstance(found.value, float), "A rerank job's values are scores. This is a bug."
    return Scored(relevance(found.value, served.engine.info.score_scale), found.value)
