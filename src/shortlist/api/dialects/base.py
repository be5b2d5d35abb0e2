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
class Seen:
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
class Stamp:
    """What an answer may say of itself: whose it is, and when it was made (seconds since 1970)."""

    request_id: str
    created_s: int


class Body(BaseModel):
    """A request body: unknown fields are ignored, values never appear in error messages."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Shape(Body):
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
    def is_meant(cls, seen: Seen) -> bool:
        """Tell whether this is such a request, among all that its path may bring."""
        del seen
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


class _Answered(Shape, ABC, Generic[TaskT, OutcomeT]):
    """A request for a task, whose outcome becomes an answer."""

    @abstractmethod
    def task(self) -> TaskT:
        """Return the task. Raises InvalidInput when fields contradict each other."""

    @abstractmethod
    def answer(self, outcome: OutcomeT, stamp: Stamp) -> object:
        """Return the body of the answer."""


class _Instructed(_Answered[TaskT, OutcomeT]):
    """A request to a model that may be told what counts. No dialect ignores that: scores would be others, without a word."""

    instruction: str | None = Field(default=None, description="What counts as relevant; the model's default if absent.")


class RerankShape(_Instructed[RerankTask, RerankOutcome]):
    """Documents in, a ranking out."""


class ScoreShape(_Instructed[ScoreTask, ScoreOutcome]):
    """Pairs in, scores out."""


class EmbedShape(_Instructed[EmbedTask, EmbedOutcome]):
    """Texts in, vectors out."""


class TokenizeShape(_Answered[TokenizeTask, TokenizeOutcome]):
    """Texts in, tokens out."""


class DetokenizeShape(_Answered[DetokenizeTask, DetokenizeOutcome]):
    """Token ids in, texts out."""


AnyShape = RerankShape | ScoreShape | EmbedShape | TokenizeShape | DetokenizeShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
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


FaultShape = Callable[[Fault], tuple[int, Json]]
"""An error to the status and the body that a dialect's clients expect."""


def universal(fault: Fault) -> tuple[int, Json]:
    """Return the body that satisfies the readers of nearly every client at once.

    OpenAI reads `error.message`, Cohere `message`, Voyage, Jina, LlamaIndex and Xinference `detail`.
    """
    return fault.status, {
        "error": {"message": fault.message, "type": fault.type, "param": fault.param, "code": fault.code},
        "message": fault.message,
        "detail": fault.message,
        "request_id": fault.request_id,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one family of clients speaks.

    Attributes:
        name: What it is called in paths (`/compat/NAME/...`) and in metrics.
        shapes: Its requests.
        fault: Its errors.
    """

    name: str
    shapes: tuple[type[AnyShape], ...]
    fault: FaultShape = universal
