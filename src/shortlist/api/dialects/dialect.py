"""The parts of a dialect: request models that become tasks, outcomes that become answers, and error bodies.

Pure. A dialect's module defines its bodies and how to match them; `table` orders the dialects. No other module names one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import Field

from shortlist.api.dialects.published_fields import UnsupportedFields
from shortlist.schemas.errors import ErrorBody
from shortlist.schemas.fields import RequestFields
from shortlist.types import (
    DetokenizeOutcome,
    DetokenizeTask,
    EmbedOutcome,
    EmbedTask,
    RerankOutcome,
    RerankTask,
    ScoreOutcome,
    ScoreTask,
    SparseOutcome,
    TokenizeOutcome,
    TokenizeTask,
)

SERVICE_NAMES: Final = frozenset({"documents", "input"})
"""What texts are called in errors of the service, which knows no dialect."""

SPELLINGS: Final = {"dimensions": ("output_dimension", "dimension")}
"""Other names of what errors of the service call so."""

Json = Mapping[str, object]
TaskT = TypeVar("TaskT")
OutcomeT = TypeVar("OutcomeT")


@dataclass(frozen=True, slots=True)
class RequestView:
    """The parts of a request that determine its dialect.

    Attributes:
        path: The path without prefixes, repeated versions or a trailing slash.
        body: The body's fields, not validated yet.
        headers: Lower-case names to values.
    """

    path: str
    body: Json
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResponseMeta:
    """Metadata for an answer: request id, and creation time in seconds since 1970."""

    request_id: str
    created_s: int


class RequestModel(RequestFields):
    """Base of request models: one request body and its answer.

    Attributes:
        paths: Paths that accept it.
        items_field: The field whose length is limited.
        example: An example body, for the documentation.
        also_read: Aliases that it reads besides the declared fields.
        unsupported: Published fields that are refused.
        noted: Published fields that change nothing.
    """

    also_read: ClassVar[frozenset[str]] = frozenset()
    unsupported: ClassVar[UnsupportedFields] = {}
    noted: ClassVar[frozenset[str]] = frozenset()
    paths: ClassVar[tuple[str, ...]] = ()
    items_field: ClassVar[str] = "documents"
    example: ClassVar[Json | None] = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Return whether a request at a shared path has this body."""
        del view
        return True

    @property
    def num_items(self) -> int:
        """The number of texts."""
        return len(getattr(self, self.items_field))

    @classmethod
    def own_name(cls, param: str) -> str:
        """Return its own name of what errors of the service call `documents[i]`, `input[i]` or `dimensions`."""
        root, bracket, index = param.partition("[")
        if not bracket or root not in SERVICE_NAMES:
            return next((each for each in (param, *SPELLINGS.get(param, ())) if each in cls.fields()), param)
        field = cls.model_fields.get(cls.items_field)
        return cls.items_field if field is not None and field.annotation is str else f"{cls.items_field}[{index}"

    @classmethod
    @cache
    def known_fields(cls) -> frozenset[str]:
        """Names of all fields that are read, refused or noted."""
        return cls.fields() | cls.noted | cls.unsupported.keys()

    @classmethod
    @cache
    def fields(cls) -> frozenset[str]:
        """Names of all fields that are read."""
        declared = (info.alias or name for name, info in cls.model_fields.items())
        return cls.also_read.union(declared)


class TaskModel(RequestModel, ABC, Generic[TaskT, OutcomeT]):
    """A request model with a task and an answer."""

    @abstractmethod
    def task(self) -> TaskT:
        """Return the task. Raises InvalidInput when fields contradict each other."""

    @abstractmethod
    def answer(self, outcome: OutcomeT, meta: ResponseMeta) -> object:
        """Return the body of the answer. The annotation is its schema in OpenAPI."""


class InstructedModel(TaskModel[TaskT, OutcomeT]):
    """A request with an optional instruction. No dialect ignores it, as scores would silently differ."""

    instruction: str | None = Field(default=None, description="What counts as relevant; the model's default if absent.")


class RerankModel(InstructedModel[RerankTask, RerankOutcome]):
    """Documents in, a ranking out."""


class ScoreModel(InstructedModel[ScoreTask, ScoreOutcome]):
    """Pairs in, scores out."""


class EmbedModel(InstructedModel[EmbedTask, EmbedOutcome]):
    """Texts in, vectors out."""


class SparseEmbedModel(InstructedModel[EmbedTask, SparseOutcome]):
    """Texts in, sparse vectors out."""


class TokenizeModel(TaskModel[TokenizeTask, TokenizeOutcome]):
    """Texts in, tokens out."""


class DetokenizeModel(TaskModel[DetokenizeTask, DetokenizeOutcome]):
    """Token ids in, texts out."""


AnyRequestModel = TaskModel[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """An error, before a dialect formats it.

    Attributes:
        status: HTTP status.
        type: OpenAI's error type.
        code: Shortlist's error code.
        param: The offending field, if any.
    """

    status: int
    type: str
    code: str
    message: str
    param: str | None
    request_id: str


FormatError = Callable[[ErrorInfo], tuple[int, object]]
"""Formats an error: status and body for a dialect's clients. The annotation of the body is its schema in OpenAPI."""


def common_error_body(error: ErrorInfo) -> tuple[int, ErrorBody]:
    """Return the common error body."""
    return error.status, {
        "error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code},
        "message": error.message,
        "detail": error.message,
        "request_id": error.request_id,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One API that clients use.

    Attributes:
        name: Name in paths (`/compat/NAME/...`) and metrics.
        request_models: Its request models.
        error_body: Its error format.
    """

    name: str
    request_models: tuple[type[AnyRequestModel], ...]
    error_body: FormatError = common_error_body
