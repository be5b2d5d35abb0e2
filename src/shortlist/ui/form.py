"""Form values to a request. Pure; a browser may send anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from shortlist.ui.files import FormError, lines_of, read_file
from shortlist.ui.i18n import Messages

MAX_COUNT_DIGITS: Final = 9
MIN_TEXTS: Final = 2
MAX_TEXTS: Final = 40

OverflowChoice = Literal["chunk", "truncate"]
OVERFLOWS: Final[tuple[OverflowChoice, ...]] = ("chunk", "truncate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query and what is to be ranked for it.

    Attributes:
        preset: The name of an instruction; not used where there is an instruction in words.
        on_overflow: What becomes of a document that is too long.
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
        """The request as a program would send it, without what is as it would be anyway."""
        options = {
            "model": self.model,
            "instruction": self.instruction,
            "preset": None if self.instruction else self.preset,
            "top_n": self.top_n,
            "on_overflow": None if self.on_overflow == "truncate" else self.on_overflow,
        }
        given = {name: value for name, value in options.items() if value is not None}
        return {**given, "query": self.query, "documents": list(self.documents)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is to be ranked: one question, or those of a file of groups."""

    questions: tuple[Question, ...]
    has_groups: bool = False

    @property
    def num_documents(self) -> int:
        """The documents of all questions."""
        return sum(len(question.documents) for question in self.questions)


def read_rerank(values: Mapping[str, object], messages: Messages) -> Form:
    """Return the form of the first tab.

    Args:
        values: By name: query, documents, preset, instruction, model, top_n, overflow, file_name, file_text, column.
        messages: The person's language.

    Raises:
        FormError: there is no query, no document, `top_n` is not a count, or the file cannot be read.
    """
    asked = replace(_asked(values), top_n=_count(values["top_n"], messages), on_overflow=_overflow(values["overflow"]))
    name = _text(values["file_name"])
    if name:
        opened = read_file(name, _raw(values["file_text"]), text_of(values["column"]), messages)
        if opened.groups:
            grouped = tuple(replace(asked, query=each.query, documents=each.documents) for each in opened.groups)
            return Form(questions=grouped, has_groups=True)
        documents = opened.documents
    else:
        documents = lines_of(_raw(values["documents"]))
    return Form(questions=(_complete(replace(asked, documents=documents), messages),))


def read_compare(values: Mapping[str, object], messages: Messages) -> tuple[Question, Question]:
    """Return the left and the right question of the second tab, which share their documents.

    Args:
        values: By name: documents, and query, model, preset, instruction of either side, ending in `_a` and `_b`.
        messages: The person's language.

    Raises:
        FormError: there is no query, no document, or both sides are the same.
    """
    documents = lines_of(_raw(values["documents"]))
    sides = {side: {name[:-2]: value for name, value in values.items() if name.endswith(f"_{side}")} for side in "ab"}
    left, right = (replace(_asked(own), documents=documents) for own in sides.values())
    left = _complete(left, messages)
    right = replace(right, query=right.query or left.query, model=right.model or left.model)
    if left == right:
        raise FormError(messages.nothing_to_compare)
    return left, right


def read_texts(value: object, messages: Messages) -> tuple[str, ...]:
    """Return the texts of the third tab.

    Raises:
        FormError: there are too few or too many.
    """
    texts = lines_of(_raw(value))
    if len(texts) < MIN_TEXTS:
        raise FormError(messages.no_texts)
    if len(texts) > MAX_TEXTS:
        raise FormError(messages.too_many_texts.format(limit=MAX_TEXTS))
    return texts


def _complete(question: Question, messages: Messages) -> Question:
    if not question.query:
        raise FormError(messages.no_query)
    if not question.documents:
        raise FormError(messages.no_documents)
    return question


def text_of(value: object) -> str | None:
    """Return a field's text without blanks around it; None when there is none."""
    return _text(value) or None


def _asked(values: Mapping[str, object]) -> Question:
    """Return a question without its documents."""
    instruction = text_of(values["instruction"])
    return Question(
        query=_text(values["query"]),
        documents=(),
        model=text_of(values["model"]),
        preset=None if instruction else text_of(values["preset"]),
        instruction=instruction,
    )


def _overflow(value: object) -> OverflowChoice:
    return next((known for known in OVERFLOWS if known == value), "truncate")


def _raw(value: object) -> str:
    return value if isinstance(value, str) else ""


def _text(value: object) -> str:
    return _raw(value).strip()


def _count(value: object, messages: Messages) -> int | None:
    typed = _text(value)
    if not typed:
        return None
    if not typed.isdecimal() or len(typed) > MAX_COUNT_DIGITS or int(typed) == 0:
        raise FormError(messages.bad_top_n)
    return int(typed)
