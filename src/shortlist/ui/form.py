"""Converts form values to requests. Pure; validates every value, since a browser may send anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from shortlist.schemas.rerank import RerankRequestBody
from shortlist.types import OverflowPolicy
from shortlist.ui.files import FormError, lines_of, read_file
from shortlist.ui.i18n import Messages

MAX_COUNT_DIGITS: Final = 9
MIN_TEXTS: Final = 2
MAX_TEXTS: Final = 40

OverflowChoice = Literal["chunk", "truncate"]
OVERFLOWS: Final[tuple[OverflowChoice, ...]] = ("chunk", "truncate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query with its documents and options.

    Attributes:
        preset: The name of an instruction; ignored if `instruction` is set.
        on_overflow: Handling of documents that are too long.
    """

    query: str
    documents: tuple[str, ...]
    model: str | None = None
    preset: str | None = None
    instruction: str | None = None
    top_n: int | None = None
    on_overflow: OverflowChoice = "truncate"

    @property
    def body(self) -> dict[str, object]:
        """The request body, without default values."""
        body = RerankRequestBody(
            query=self.query,
            documents=list(self.documents),
            model=self.model,
            instruction=self.instruction,
            preset=None if self.instruction else self.preset,
            top_n=self.top_n,
            on_overflow=None if self.on_overflow == "truncate" else OverflowPolicy.CHUNK,
        )
        return body.to_json()


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A submitted form: one question, or one per group of a file."""

    questions: tuple[Question, ...]
    has_groups: bool = False

    @property
    def num_documents(self) -> int:
        """Number of documents of all questions."""
        return sum(len(question.documents) for question in self.questions)


def read_rerank(values: Mapping[str, object], messages: Messages) -> Form:
    """Read the form of the first tab.

    Args:
        values: By name: query, documents, preset, instruction, model, top_n, overflow, file_name, file_text, column.
        messages: The user's language.

    Raises:
        FormError: the query or the documents are missing, `top_n` is not a count, or the file is invalid.
    """
    question = replace(_question(values), top_n=_count(values["top_n"], messages), on_overflow=_overflow(values["overflow"]))
    name = _text(values["file_name"])
    if name:
        content = read_file(name, _string(values["file_text"]), optional_text(values["column"]), messages)
        if content.groups:
            grouped = tuple(replace(question, query=each.query, documents=each.documents) for each in content.groups)
            return Form(questions=grouped, has_groups=True)
        documents = content.documents
    else:
        documents = lines_of(_string(values["documents"]))
    return Form(questions=(_validated(replace(question, documents=documents), messages),))


def read_compare(values: Mapping[str, object], messages: Messages) -> tuple[Question, Question]:
    """Read the left and the right question of the second tab; both have the same documents.

    Args:
        values: By name: documents, and query, model, preset, instruction of each side, with suffix `_a` or `_b`.
        messages: The user's language.

    Raises:
        FormError: the query or the documents are missing, or both sides are equal.
    """
    documents = lines_of(_string(values["documents"]))
    sides = {side: {name[:-2]: value for name, value in values.items() if name.endswith(f"_{side}")} for side in "ab"}
    left, right = (replace(_question(fields), documents=documents) for fields in sides.values())
    left = _validated(left, messages)
    right = replace(right, query=right.query or left.query, model=right.model or left.model)
    if left == right:
        raise FormError(messages.nothing_to_compare)
    return left, right


def read_texts(value: object, messages: Messages) -> tuple[str, ...]:
    """Read the texts of the third tab.

    Raises:
        FormError: there are fewer than 2 or more than 40 texts.
    """
    texts = lines_of(_string(value))
    if len(texts) < MIN_TEXTS:
        raise FormError(messages.no_texts)
    if len(texts) > MAX_TEXTS:
        raise FormError(messages.too_many_texts.format(limit=MAX_TEXTS))
    return texts


def _validated(question: Question, messages: Messages) -> Question:
    if not question.query:
        raise FormError(messages.no_query)
    if not question.documents:
        raise FormError(messages.no_documents)
    return question


def optional_text(value: object) -> str | None:
    """Return a field's text, stripped; None if empty."""
    return _text(value) or None


def _question(values: Mapping[str, object]) -> Question:
    """Return the question of a form, without documents."""
    instruction = optional_text(values["instruction"])
    return Question(
        query=_text(values["query"]),
        documents=(),
        model=optional_text(values["model"]),
        preset=None if instruction else optional_text(values["preset"]),
        instruction=instruction,
    )


def _overflow(value: object) -> OverflowChoice:
    return next((known for known in OVERFLOWS if known == value), "truncate")


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _text(value: object) -> str:
    return _string(value).strip()


def _count(value: object, messages: Messages) -> int | None:
    digits = _text(value)
    if not digits:
        return None
    if not digits.isdecimal() or len(digits) > MAX_COUNT_DIGITS or int(digits) == 0:
        raise FormError(messages.bad_top_n)
    return int(digits)
