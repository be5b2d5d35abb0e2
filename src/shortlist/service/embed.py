"""Embed: texts in, vectors out, of unit length unless the model or the request says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from shortlist.engine.base import EngineInfo, ScoreScale
from shortlist.errors import InputTooLong, InvalidInput
from shortlist.scheduler.cache import Entry
from shortlist.scheduler.served_model import ServedModel
from shortlist.scheduler.work import TextValue, Work
from shortlist.service.rerank import check_limit
from shortlist.types import (
    EMBED,
    EMBED_SPARSE,
    EmbedOutcome,
    EmbedTask,
    Encoded,
    InputType,
    Operation,
    PromptTemplate,
    SparseOutcome,
    Vector,
)

LENGTH_SCALES: Final = frozenset({ScoreScale.DOT, ScoreScale.DISTANCE})
"""Comparisons for which the length of a vector counts."""


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
    form = _form(task, served.engine.info)
    vectors: list[Vector] = [form(_value(found)) for found in computed.found]
    served.metrics.documents.labels(served.name, EMBED.name).inc(len(task.texts))
    served.metrics.truncated.labels(served.name).inc(len(computed.truncated))
    return EmbedOutcome(
        model=served.name,
        vectors=vectors,
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


def _form(task: EmbedTask, info: EngineInfo) -> Callable[[Vector], Vector]:
    """Return the function that gives a vector the requested dimensions and length."""
    is_short = task.dimensions not in {None, info.dimensions}
    is_unit = info.score_scale not in LENGTH_SCALES if task.normalize is None else task.normalize
    if is_unit and (is_short or not info.has_unit_vectors):
        return lambda vector: normalized(vector[: task.dimensions])
    return (lambda vector: vector[: task.dimensions]) if is_short else (lambda vector: vector)


def normalized(vector: Vector) -> Vector:
    """Return the vector with unit length; zero stays zero. Shortened embeddings need it, too (Matryoshka).

    Shapes:
        vector: [width] float32; the result: the same.
    """
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length > 0 else vector


def _work(served: ServedModel, operation: Operation, task: EmbedTask, template: PromptTemplate) -> Work:
    has_instruction = task.instruction is not None or task.preset is not None
    input_type = InputType.QUERY if has_instruction else task.input_type
    instruction = template.instruction if has_instruction else None

    check_limit(served, task.truncate_prompt_tokens)
    limits = [most for most in (task.truncate_prompt_tokens, task.max_tokens) if most is not None]

    def encode(positions: Sequence[int]) -> list[Encoded]:
        texts = [task.texts[index] for index in positions]
        encoded = served.encoder.encode_texts(
            texts,
            input_type=input_type,
            prompt_name=task.prompt_name,
            instruction=instruction,
            truncate=task.truncate,
            truncate_prompt_tokens=min(limits, default=None),
        )
        if task.max_tokens is not None and not task.truncate:
            _refuse_cut(encoded, positions)
        return encoded

    words = (template.name, input_type.value, repr(task.prompt_name), repr(instruction))
    context = (*words, repr(task.truncate), repr(task.truncate_prompt_tokens), repr(task.max_tokens))
    return Work(
        operation=operation,
        texts=task.texts,
        keys=served.keys(operation, context, task.texts),
        overhead_chars=len(instruction or ""),
        encode=encode,
        options=task.options,
        max_tokens=served.card.max_model_len,
    )


def _refuse_cut(encoded: Sequence[Encoded], positions: Sequence[int]) -> None:
    for index, each in zip(positions, encoded, strict=True):
        if each.is_truncated:
            param = f"input[{index}]"
            raise InputTooLong(f"{param} has more tokens than the request allows, and may not be truncated.", param=param)


def _value(found: TextValue) -> Any:
    """Return the vector, or raise: embedding APIs cannot return partial results."""
    if not isinstance(found, Entry):
        raise found.with_traceback(None)  # other requests may share the error
    return found.value
