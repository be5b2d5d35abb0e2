"""Why a document has its score: the prompt as the model reads it, the ids at its seams, the logits, and what was cut.

For people who doubt a score. It takes the same path as ranking, and asks the engine once more for the numbers behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shortlist.scheduler.cache import Entry
from shortlist.service.compute import Found, compute
from shortlist.service.rerank import relevance, request_of
from shortlist.service.stack import Stack
from shortlist.types import Batch, Encoded, Explained, Explanation, RerankTask, Task, WorkItem


async def explain(stack: Stack, task: RerankTask) -> Explanation:
    """Return how every document of the task gets its score.

    Raises:
        What `service.rerank.rerank` raises; here the error of one document is the error of all.
    """
    template = stack.encoder.template(task.instruction, task.preset)
    request = request_of(stack, task, template)
    remembered = stack.cache.get_many(request.names)
    computed = await compute(stack, request)
    encoded = await asyncio.to_thread(request.encode, range(len(task.documents)))
    logits = await stack.engine.explain(_batch(encoded, computed.found))
    documents = [
        _explained(stack, index, each, found, is_cached=name in remembered, logits=dict(numbers))
        for index, (each, found, name, numbers) in enumerate(zip(encoded, computed.found, request.names, logits, strict=True))
    ]
    return Explanation(model=stack.name, template=template, documents=documents, usage=computed.usage, timing=computed.timing)


def _batch(encoded: Sequence[Encoded], found: Sequence[Found]) -> Batch:
    """Return the prompts that the scores are from, one for every document."""
    prompts = [each.prompts[_best(each, entry)] for each, entry in zip(encoded, found, strict=True)]
    return Batch(Task.RERANK, tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(prompts)))


def _best(encoded: Encoded, found: Found) -> int:
    if not isinstance(found, Entry):
        raise found
    return encoded.spans.index(found.stats.best) if found.stats.best is not None else 0


def _explained(
    stack: Stack, index: int, encoded: Encoded, found: Found, *, is_cached: bool, logits: dict[str, float]
) -> Explained:
    assert isinstance(found, Entry), "A document that failed has failed the request. This is a bug."
    assert isinstance(found.value, float), "A rerank job's values are scores. This is a bug."
    view = stack.encoder.view(encoded.prompts[_best(encoded, found)])
    return Explained(
        index=index,
        score=relevance(found.value, stack.engine.info.score_scale),
        raw_score=found.value,
        logits=logits,
        prompt=view.text,
        parts={name: [(token.id, token.text) for token in tokens] for name, tokens in view.parts.items()},
        stats=found.stats,
        num_escaped=encoded.num_escaped,
        is_cached=is_cached,
    )
