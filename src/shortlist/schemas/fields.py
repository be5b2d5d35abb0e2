"""Field types of requests: lenient where real clients are sloppy, strict where a guess would be wrong.

Real clients send explicit nulls, numbers as digit strings, booleans as words, one string for a list, and documents as objects.
A null means the default everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from shortlist.errors import EmptyInput, InvalidInput, TooManyItems


@dataclass(frozen=True, slots=True)
class ItemLimit:
    """The validation context: the most documents or texts in a request.

    Attributes:
        max_items: `max_client_batch_size`.
        field: The field of the documents or texts, as a path.
    """

    max_items: int
    field: str

    def exceeded(self, num_items: int, field: str) -> TooManyItems:
        """Return the error for too many items."""
        param = self.field if self.field.endswith(f".{field}") else field
        message = f"{param} has {num_items} items; at most {self.max_items} are allowed (max_client_batch_size)."
        return TooManyItems(message, param=param, num_items=num_items)


LIMIT: Final = "limit"

MAX_NAMES: Final = 100
"""Most names in a list of names, such as `rank_fields`."""

ModelT = TypeVar("ModelT", bound=BaseModel)
ItemsT = TypeVar("ItemsT")

DOCUMENT_FORMS: Final = 'a string, or an object with a "text" field'


class RequestFields(BaseModel):
    """A request body: unknown fields are ignored, values never appear in error messages."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def to_json(self) -> dict[str, object]:
        """Return the body that a client sends: the fields that have a value."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def validated(request_model: type[ModelT], body: object, limit: ItemLimit) -> ModelT:
    """Return a validated request.

    Raises:
        InvalidInput: a field is wrong, or a list of documents or texts is too long; the first error counts.
    """
    try:
        return request_model.model_validate(body, context={LIMIT: limit})
    except ValidationError as error:
        raise invalid_input(error) from None


def check_num_items(items: Sequence[object], info: ValidationInfo) -> None:
    """Check the number of items before anything is done with each.

    Raises:
        InvalidInput: there are more than the server allows.
    """
    limit: ItemLimit | None = info.context[LIMIT] if info.context else None
    if limit is not None and len(items) > limit.max_items:
        raise limit.exceeded(len(items), info.field_name or limit.field)


def invalid_input(error: ValidationError) -> InvalidInput:
    """Return the first validation error of a request; it names the field, never the value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "missing":
        return InvalidInput(f"{param} is required.", param=param)
    return InvalidInput(f"{param}: {first['msg'][0].lower()}{first['msg'][1:]}.", param=param or None)


def _query(value: object, info: ValidationInfo) -> object:
    name = info.field_name or "query"
    text = text_of(value)
    if text is None:
        raise InvalidInput(f"{name} must be {DOCUMENT_FORMS}.", param=name)
    if not text.strip():
        raise InvalidInput(f"{name} must not be empty.", param=name)
    return text


def _documents(value: object, info: ValidationInfo) -> object:
    name = info.field_name or "documents"
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise InvalidInput(f"{name} must be a list; each of its items {DOCUMENT_FORMS}.", param=name)
    if not value:
        raise EmptyInput(f"{name} must hold at least one document.", param=name)
    check_num_items(value, info)
    return read_documents(value, name, info.data.get("rank_fields"))


def read_documents(items: Sequence[object], name: str, rank_fields: Sequence[str] | None) -> list[str]:
    """Return the text of every document; of objects the named fields, joined by newlines, or the field `text`.

    Raises:
        InvalidInput: a document is neither a string nor such an object.
    """
    return [_document(item, f"{name}[{index}]", rank_fields) for index, item in enumerate(items)]


def _document(item: object, param: str, rank_fields: Sequence[str] | None) -> str:
    if isinstance(item, str):
        return item
    if rank_fields and isinstance(item, dict):
        return "\n".join(_named(item, field, param) for field in rank_fields)
    text = text_of(item)
    if text is None:
        raise InvalidInput(f"{param} must be {DOCUMENT_FORMS}; other objects need rank_fields.", param=param)
    return text


def _named(item: Mapping[str, object], field: str, param: str) -> str:
    value = item.get(field)
    if not isinstance(value, str):
        raise InvalidInput(f"{param} must have every one of the rank_fields, each a string.", param=param)
    return value


def text_of(value: object) -> str | None:
    """Return the text of a string, `{"text": ...}` or `{"content": [{"type": "text", "text": ...}]}`; None otherwise."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("text"), str):
        return str(value["text"])
    parts = value.get("content")
    if not isinstance(parts, list) or not parts:
        return None
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    return "\n".join(str(text) for text in texts) if all(isinstance(text, str) for text in texts) else None


def _texts(value: object, info: ValidationInfo) -> object:
    name = info.field_name or "input"
    if isinstance(value, (str, dict)):
        value = [value]
    if not isinstance(value, list):
        raise InvalidInput(f"{name} must be a string or a list of strings.", param=name)
    if not value:
        raise EmptyInput(f"{name} must hold at least one string.", param=name)
    check_num_items(value, info)
    if any(isinstance(item, (int, list)) for item in value):
        raise InvalidInput(
            f"{name} must be text: token ids of another tokenizer mean nothing to this model. "
            "In LangChain's OpenAIEmbeddings, set check_embedding_ctx_length=False.",
            param=name,
        )
    return [_text(item, f"{name}[{index}]") for index, item in enumerate(value)]


def _text(item: object, param: str) -> str:
    text = text_of(item)
    if text is None:
        raise InvalidInput(f"{param} must be a string.", param=param)
    return text


def _side(value: object, info: ValidationInfo) -> object:
    if value is None or (isinstance(value, str) and value.lower() in {"left", "right"}):
        return value
    raise InvalidInput(f"{info.field_name} must be right or left.", param=info.field_name)


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise PydanticCustomError("repeated", "must name each only once")
    return names


def _limited(items: object, info: ValidationInfo) -> object:
    if isinstance(items, list):
        check_num_items(items, info)
    return items


def _schema_of_document() -> dict[str, object]:
    text = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    return {"anyOf": [{"type": "string"}, text]}


Query = Annotated[str, BeforeValidator(_query, json_schema_input_type=str)]
Documents = Annotated[
    list[str], BeforeValidator(_documents), Field(json_schema_extra={"items": _schema_of_document(), "minItems": 1})
]
Items = Annotated[ItemsT, Field(fail_fast=True, min_length=1), BeforeValidator(_limited)]
"""A list of documents or texts in a dialect's own form."""
Names = Annotated[list[str], Field(fail_fast=True, max_length=MAX_NAMES), AfterValidator(_distinct)]
"""Names of fields or forms. Repeated ones would multiply the texts."""
IdList = Annotated[list[int], Field(fail_fast=True)]
"""Token ids. Without `fail_fast`, every wrong one would become an error object."""
Priors = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(fail_fast=True)]
"""Numbers in 0..1, one per document."""
Texts = Annotated[list[str], BeforeValidator(_texts, json_schema_input_type=str | list[str])]
Count = Annotated[int | None, Field(ge=0)]
PromptTokens = Annotated[int | None, Field(ge=-1)]
"""vLLM's `truncate_prompt_tokens`: -1, 0 and nothing are as many as the model reads."""
Side = Annotated[str | None, BeforeValidator(_side)]
"""The side to cut of a text that is too long. Only the right one can be: with `left`, such a text is an error."""
