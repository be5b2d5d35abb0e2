"""Explains a score: the prompt, the ids at its seams, the logits, and truncation.

It takes the same path as rerank, and calls the engine once more for the logits.
"""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.scheduler.cache import Entry
from shortlist.scheduler.served_model import ServedModel
from shortlist.scheduler.tokenizing import in_thread
from shortlist.scheduler.work import TextValue
from shortlist.service.rerank import relevance, request_of
from shortlist.types import Encoded, Explained, Explanation, Prompt, RerankTask


async def explain(served: ServedModel, task: RerankTask) -> Explanation:
    """Explain the score of every document of the task.

    Raises:
        What `service.rerank.rerank` raises; the error of one document fails the request.
    """
    template = served.encoder.template(task.instruction, task.preset)
    request = request_of(served, task, template)
    cached = served.cache.get_many(request.keys)
    computed = await served.run(request)
    encoded = await in_thread(lambda: request.encode(range(len(task.documents))), task.options.timeout_s)
    logits = await served.engine.explain(_prompts(encoded, computed.found))
    documents = [
        _explained(served, index, each, found, is_cached=key in cached, logits=dict(values))
        for index, (each, found, key, values) in enumerate(zip(encoded, computed.found, request.keys, logits, strict=True))
    ]
    return Explanation(model=served.name, template=template, documents=documents, usage=computed.usage, timing=computed.timing)


def _prompts(encoded: Sequence[Encoded], found: Sequence[TextValue]) -> list[Prompt]:
    """Return the scored prompts, one per document."""
    return [each.prompts[_best(each, entry)] for each, entry in zip(encoded, found, strict=True)]


def _best(encoded: Encoded, found: TextValue) -> int:
    if not isinstance(found, Entry):
        raise found
    return encoded.spans.index(found.stats.best) if found.stats.best is not None else 0


def _explained(
    served: ServedModel, index: int, encoded: Encoded, found: TextValue, *, is_cached: bool, logits: dict[str, float]
) -> Explained:
    assert isinstance(found, Entry), "A document that failed has failed the request. This is a bug."
    assert isinstance(found.value, float), "A rerank job's values are scores. This is a bug."
    view = served.encoder.view(encoded.prompts[_best(encoded, found)])
    return Explained(
        index=index,
        score=relevance(found.value, served.engine.info.score_scale),
        raw_score=found.value,
        logits=logits,
        prompt=view.text,
        parts={name: [(token.id, token.text) for token in tokens] for name, tokens in view.parts.items()},
        stats=found.stats,
        num_escaped=encoded.num_escaped,
        is_cached=is_cached,
    )
