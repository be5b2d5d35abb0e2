"""Rerank: documents in, ranking out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Final, cast

from shortlist.engine.base import ScoreScale, sigmoid
from shortlist.errors import DeadlineExceeded, InvalidInput, ServiceError
from shortlist.scheduler.cache import Entry
from shortlist.scheduler.served_model import ServedModel
from shortlist.scheduler.work import TextValue, Work
from shortlist.service.fusion import with_priors
from shortlist.types import (
    RERANK,
    Encoded,
    Failed,
    OverflowPolicy,
    PromptTemplate,
    Ranked,
    RerankOutcome,
    RerankTask,
)

MAX_TEMPLATED_CHARS: Final = 65_536
"""Longest templated query, which is read again with every document."""


async def rerank(served: ServedModel, task: RerankTask) -> RerankOutcome:
    """Rank the task's documents with this model.

    Raises:
        Overloaded: the whole request is refused.
        DeadlineExceeded: the deadline passed; for a partial request, before any document was scored.
        InputTooLong: a text does not fit and must not be truncated.
        InvalidInput: the model takes no instruction, or the preset is unknown.
        EngineError: the engine failed, or no document could be scored.
    """
    task = strip_template(served, task)
    template = served.encoder.template(task.instruction, task.preset)
    computed = await served.run(request_of(served, task, template))
    failed = [Failed(index, found) for index, found in enumerate(computed.found) if not isinstance(found, Entry)]
    for each in failed:
        served.metrics.failed.labels(served.name, type(each.error).__name__).inc()
    if len(failed) == len(task.documents):
        raise _request_error([each.error for each in failed])
    model_scores = None
    results = ranking(computed.found, served.engine.info.score_scale, task.top_n if task.priors is None else None)
    if task.priors is not None:
        results, model_scores = with_priors(results, task.priors, task.prior_weight, task.top_n)
    outcome = RerankOutcome(
        model=served.name,
        results=results,
        failed=failed,
        document_stats=computed.document_stats,
        template=template,
        usage=computed.usage,
        timing=computed.timing,
        model_scores=model_scores,
    )
    _count(served, outcome)
    return outcome


def strip_template(served: ServedModel, task: RerankTask) -> RerankTask:
    """Return the task without the model's prompt template, if the request already has it: applied twice, scores are wrong."""
    parts = [served.encoder.strip_template(task.query, document) for document in task.documents[:1]]
    if parts[0] is None:
        return task
    check_templated(task.query)
    documents = [served.encoder.strip_template(task.query, document) for document in task.documents]
    return replace(
        task,
        query=parts[0].query,
        instruction=parts[0].instruction,
        preset=None,
        documents=tuple(each.document for each in documents if each is not None),
    )


def check_templated(query: str) -> None:
    """Refuse a templated query that is too long to be read again with every document.

    Raises:
        InvalidInput: it is.
    """
    if len(query) > MAX_TEMPLATED_CHARS:
        message = f"A query with a chat template may have at most {MAX_TEMPLATED_CHARS} characters."
        raise InvalidInput(message, param="query")


def ranking(found: Sequence[TextValue], scale: ScoreScale, top_n: int | None = None) -> list[Ranked]:
    """Return the top scored documents by raw score, as scores in 0..1 may round to ties; ties keep the input order."""
    values = [(index, entry.value) for index, entry in enumerate(found) if isinstance(entry, Entry)]
    scored = cast("list[tuple[int, float]]", values)  # rerank values are numbers
    scored.sort(key=itemgetter(1), reverse=True)  # stable: equal scores keep the input order
    return [Ranked(index, relevance(raw, scale), raw) for index, raw in scored[:top_n]]


def relevance(raw: float, scale: ScoreScale) -> float:
    """Map a raw score to 0..1, without changing the order; see `ScoreScale`."""
    if scale is ScoreScale.COSINE:
        return min(max(raw, 0.0), 1.0)
    if scale is ScoreScale.DOT:
        return max(raw, 0.0) / (1.0 + max(raw, 0.0))
    if scale is ScoreScale.DISTANCE:
        return 1.0 / (1.0 - min(raw, 0.0))
    return sigmoid(raw)


def check_limit(served: ServedModel, truncate_prompt_tokens: int | None) -> None:
    """Refuse a limit that limits nothing.

    Raises:
        InvalidInput: the model reads fewer tokens.
    """
    most = served.card.max_model_len
    if truncate_prompt_tokens is not None and truncate_prompt_tokens > most:
        message = f"truncate_prompt_tokens must be at most {most}, the most that {served.name} reads; -1 stands for it."
        raise InvalidInput(message, param="truncate_prompt_tokens")


def request_of(served: ServedModel, task: RerankTask, template: PromptTemplate) -> Work:
    """Return the compute request of this task, with all inputs of its cache keys. Raises as `check_limit`."""
    check_limit(served, task.truncation.truncate_prompt_tokens)

    def encode(positions: Sequence[int]) -> list[Encoded]:
        return served.encoder.encode_pairs(
            task.query,
            [task.documents[index] for index in positions],
            instruction=template.instruction,
            on_overflow=task.on_overflow,
            truncation=task.truncation,
            with_totals=task.with_totals,
        )

    words = (template.name, template.preset, repr(template.instruction), task.query)
    limits = (task.on_overflow.value, repr(task.truncation), repr(task.with_totals))
    return Work(
        operation=RERANK,
        texts=task.documents,
        keys=served.keys(RERANK, (*words, *limits), task.documents),
        overhead_chars=len(task.query) + len(template.instruction or ""),
        encode=encode,
        options=task.options,
        max_tokens=None if task.on_overflow is OverflowPolicy.CHUNK else served.card.max_model_len,
    )


def _request_error(errors: Sequence[ServiceError]) -> ServiceError:
    """Return the error of a request without any score: DeadlineExceeded if one document has it, otherwise the first."""
    late = (error for error in errors if isinstance(error, DeadlineExceeded))
    return next(late, errors[0]).with_traceback(None)  # other requests may share the error


def _count(served: ServedModel, outcome: RerankOutcome) -> None:
    metrics, name = served.metrics, served.name
    metrics.documents.labels(name, RERANK.name).inc(len(outcome.document_stats))
    metrics.truncated.labels(name).inc(len(outcome.truncated))
