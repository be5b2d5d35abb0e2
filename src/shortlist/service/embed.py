"""Embed: texts in, unit vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shortlist.errors import InvalidInput
from shortlist.scheduler.cache import Entry
from shortlist.scheduler.served_model import ServedModel
from shortlist.scheduler.work import TextValue, Work
from shortlist.types import (
    EMBED,
    EMBED_SPARSE,
    EmbedOutcome,
    EmbedTask,
    Encoded,
    Operation,
    PromptTemplate,
    SparseOutcome,
    Vector,
)


async def embed(served: ServedModel, task: EmbedTask) -> EmbedOutcome:
    """Embed the task's texts with this model.

    Raises:
        InvalidInput: the model has fewer dimensions than requested.
        Overloaded: the whole request is refused.
        DeadlineExceeded: the deadline passed.
        InputTooLong: a text does not fit and must not be truncated.
        EngineError: the engine failed, or a text could not be embedded.
    """
    width = served.engine.info.dimensions
    assert width is not None, "A model that embeds has dimensions. This is a bug."
    if task.dimensions is not None and task.dimensions > width:
        raise InvalidInput(f"dimensions must be at most {width} for {served.name}.", param="dimensions")
    template = served.encoder.template(task.instruction, task.preset)
    computed = await served.run(_work(served, EMBED, task, template))
    vectors: list[Vector] = [_value(found) for found in computed.found]
    served.metrics.documents.labels(served.name, EMBED.name).inc(len(task.texts))
    served.metrics.truncated.labels(served.name).inc(len(computed.truncated))
    return EmbedOutcome(
        model=served.name,
        vectors=vectors if task.dimensions in {None, width} else [shorten(each, task.dimensions) for each in vectors],
        truncated=computed.truncated,
        usage=computed.usage,
        timing=computed.timing,
    )


async def embed_sparse(served: ServedModel, task: EmbedTask) -> SparseOutcome:
    """Embed the task's texts as sparse vectors. Raises as `embed`."""
    template = served.encoder.template(task.instruction, task.preset)
    computed = await served.run(_work(served, EMBED_SPARSE, task, template))
    vectors = [_value(found) for found in computed.found]
    served.metrics.documents.labels(served.name, EMBED_SPARSE.name).inc(len(task.texts))
    served.metrics.truncated.labels(served.name).inc(len(computed.truncated))
    return SparseOutcome(
        model=served.name, vectors=vectors, truncated=computed.truncated, usage=computed.usage, timing=computed.timing
    )


def shorten(vector: Vector, dimensions: int | None) -> Vector:
    """Truncate to the leading dimensions and normalize again (Matryoshka embeddings).

    Shapes:
        vector: [width] float32; the result: [dimensions] float32 of unit length (zero stays zero).
    """
    leading = vector[:dimensions]
    length = float(np.linalg.norm(leading))
    return leading / np.float32(length) if length > 0 else leading


def _work(served: ServedModel, operation: Operation, task: EmbedTask, template: PromptTemplate) -> Work:
    is_query = task.is_query or task.instruction is not None or task.preset is not None
    instruction = template.instruction if is_query else None

    def encode(positions: Sequence[int]) -> list[Encoded]:
        texts = [task.texts[index] for index in positions]
        return served.encoder.encode_texts(
            texts,
            is_query=is_query,
            instruction=instruction,
            truncate=task.truncate,
            truncate_prompt_tokens=task.truncate_prompt_tokens,
        )

    context = (template.name, repr(is_query), repr(instruction), repr(task.truncate), repr(task.truncate_prompt_tokens))
    return Work(
        operation=operation,
        texts=task.texts,
        keys=served.keys(operation, context, task.texts),
        overhead_chars=len(instruction or ""),
        encode=encode,
        options=task.options,
        max_tokens=served.card.max_model_len,
    )


def _value(found: TextValue) -> Any:
    """Return the vector, or raise: embedding APIs cannot return partial results."""
    if not isinstance(found, Entry):
        raise found.with_traceback(None)  # other requests may share the error
    return found.value
