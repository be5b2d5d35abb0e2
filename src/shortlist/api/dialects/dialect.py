"""What a dialect is: shapes of requests that become tasks, of outcomes that become answers, and of errors.

Pure. A dialect's file says what its bodies look like and how they are told from others; the table puts dialects in order.
Nothing else knows any of them by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from shortlist.types import (
    DetokenizeOutcome,
    DetokenizeTask,
    EmbedOutcome,
    EmbedTask,
    RerankOutcome,
    RerankTask,
    ScoreOutcome,
    ScoreTask,
    TokenizeOutcome,
    TokenizeTask,
)

Json = Mapping[str, object]
TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")


@dataclass(frozen=True, slots=True)
class RequestView:
    """What a dialect is told by.

    Attributes:
        path: The path, without prefixes of ours, repeated versions or a slash at its end.
        body: The body's fields, none of them checked yet.
        headers: Lower-case names to values.
    """

    path: str
    body: Json
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResponseMeta:
    """What an answer may say of itself: whose it is, and when it was made (seconds since 1970)."""

    request_id: str
    created_s: int


class RequestFields(BaseModel):
    """A request body: unknown fields are ignored, values never appear in error messages."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class RequestModel(RequestFields):
    """The shape of one kind of request, and of its answer.

    Attributes:
        paths: Where it is understood.
        items_field: The field that holds what there can be too many of.
        example: A request of this shape, for the documentation.
        also_read: Fields that it reads besides those that are declared: other spellings of them.
    """

    also_read: ClassVar[frozenset[str]] = frozenset()
    paths: ClassVar[tuple[str, ...]] = ()
    items_field: ClassVar[str] = "documents"
    example: ClassVar[Json | None] = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Tell whether this is such a request, among all that its path may bring."""
        del view
        return True

    @property
    def num_items(self) -> int:
        """How many texts it brings."""
        return len(getattr(self, self.items_field))

    @classmethod
    @cache
    def fields(cls) -> frozenset[str]:
        """Every field that is read, by the names that clients use."""
        declared = (info.alias or name for name, info in cls.model_fields.items())
        return cls.also_read.union(declared)


class _AnsweredModel(RequestModel, ABC, Generic[TaskT, OutcomeT]):
    """A request for a task, whose outcome becomes an answer."""

    @abstractmethod
    def task(self) -> TaskT:
        """Return the task. Raises InvalidInput when fields contradict each other."""

    @abstractmethod
    def answer(self, outcome: OutcomeT, meta: ResponseMeta) -> object:
        """Return the body of the answer."""


class _InstructedModel(_AnsweredModel[TaskT, OutcomeT]):
    """A request to a model that may be told what counts. No dialect ignores that: scores would be others, without a word."""

    instruction: str | None = Field(default=None, description="What counts as relevant; the model's default if absent.")


class RerankModel(_InstructedModel[RerankTask, RerankOutcome]):
    """Documents in, a ranking out."""


class ScoreModel(_InstructedModel[ScoreTask, ScoreOutcome]):
    """Pairs in, scores out."""


class EmbedModel(_InstructedModel[EmbedTask, EmbedOutcome]):
    """Texts in, vectors out."""


class TokenizeModel(_AnsweredModel[TokenizeTask, TokenizeOutcome]):
    """Texts in, tokens out."""


class DetokenizeModel(_AnsweredModel[DetokenizeTask, DetokenizeOutcome]):
    """Token ids in, texts out."""


AnyRequestModel = RerankModel | ScoreModel | EmbedModel | TokenizeModel | DetokenizeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """What went wrong, before a dialect puts it into words of its own.

    Attributes:
        status: What HTTP says of it.
        type: Its kind, in OpenAI's words.
        code: Its kind, in ours.
        param: The offending field, if there is one.
    """

    status: int
    type: str
    code: str
    message: str
    param: str | None
    request_id: str


ErrorBody = Callable[[ErrorInfo], tuple[int, Json]]
"""An error to the status and the body that a dialect's clients expect."""


def common_error_body(error_body: ErrorInfo) -> tuple[int, Json]:
    """Return the body that satisfies the readers of nearly every client at once.

    OpenAI reads `error.message`, Cohere `message`, Voyage, Jina, LlamaIndex and Xinference `detail`.
    """
    return error_body.status, {
        "error": {"message": error_body.message, "type": error_body.type, "param": error_body.param, "code": error_body.code},
        "message": error_body.message,
        "detail": error_body.message,
        "request_id": error_body.request_id,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one family of clients speaks.

    Attributes:
        name: What it is called in paths (`/compat/NAME/...`) and in metrics.
        request_models: Its requests.
        error_body: Its errors.
    """

    name: str
    request_models: tuple[type[AnyRequestModel], ...]
    error_body: ErrorBody = common_error_body
