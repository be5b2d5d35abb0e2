"""The registry of tasks: by request model, the name of the task, its options, and the service that runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.requests import Request

from shortlist.api.dialects.dialect import (
    DetokenizeModel,
    EmbedModel,
    RequestModel,
    RerankModel,
    ScoreModel,
    SparseEmbedModel,
    TokenizeModel,
)
from shortlist.api.request_options import apply_headers, with_instruction
from shortlist.service.embed import embed_sparse
from shortlist.service.runtime import ModelTask, Runtime
from shortlist.types import EMBED_SPARSE


class ServedOutcome(Protocol):
    """The outcome of any task."""

    @property
    def model(self) -> str:
        """The served model name."""
        ...


@dataclass(frozen=True, slots=True)
class TaskHandler:
    """How a task is served.

    Attributes:
        name: Its name in metrics, logs and traces.
        run: Runs the task with the model that it names.
        task_of: Returns the task of a request, with the options of its headers.
    """

    name: str
    run: Callable[[Runtime, Any], Awaitable[ServedOutcome]]
    task_of: Callable[[Any, Request], ModelTask] = lambda body, request: apply_headers(
        with_instruction(body.task(), body.instruction), request
    )


def _tokenizer_task(body: Any, request: Request) -> ModelTask:
    task: ModelTask = apply_headers(body.task(), request)
    return task


HANDLERS: Final[dict[type[RequestModel], TaskHandler]] = {
    RerankModel: TaskHandler("rerank", Runtime.rerank),
    ScoreModel: TaskHandler("score", Runtime.score),
    EmbedModel: TaskHandler("embed", Runtime.embed),
    SparseEmbedModel: TaskHandler("embed_sparse", lambda service, task: service.run(EMBED_SPARSE, embed_sparse, task)),
    TokenizeModel: TaskHandler("tokenize", Runtime.tokenize, _tokenizer_task),
    DetokenizeModel: TaskHandler("detokenize", Runtime.detokenize, _tokenizer_task),
}
"""By base class of request models. A new task is a new entry, with a dialect for its request models."""


def handler_of(request_model: type[RequestModel]) -> TaskHandler:
    """Return the handler of a request model or of one of its bases."""
    return next(HANDLERS[base] for base in request_model.__mro__ if base in HANDLERS)
