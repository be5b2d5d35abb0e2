"""Field types that several dialects share: lenient where real clients are sloppy, exact where a guess would be wrong.

Real clients send explicit nulls, numbers as digit strings, booleans as words, one string where a list is meant, and
documents as objects. A null is a default everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from shortlist.errors import InvalidInput

Json = Mapping[str, object]

DOCUMENT_FORMS: Final = 'a string, or an object with a "text" field'


class Body(BaseModel):
    """A request body: unknown fields are ignored, values never appear in error messages."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


def _query(value: object) -> object:
    text = text_of(value)
    if text is None:
        raise InvalidInput(f"query must be {DOCUMENT_FORMS}.", param="query")
    if not text.strip():
        raise InvalidInput("query must not be empty.", param="query")
    return text


def _documents(value: object, info: ValidationInfo) -> object:
    name = info.field_name or "documents"
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise InvalidInput(f"{name} must be a list; each of its items {DOCUMENT_FORMS}.", param=name)
    if not value:
        raise InvalidInput(f"{name} must hold at least one document.", param=name)
    rank_fields = info.data.get("rank_fields")
    return [_document(item, f"{name}[{index}]", rank_fields) for index, item in enumerate(value)]


def _document(item: object, param: str, rank_fields: Sequence[str] | None) -> str:
    if isinstance(item, str):
        return item
    if rank_fields and isinstance(item, dict):
        return "\n".join(_named(item, field, param) for field in rank_fields)
    text = text_of(item)
    if text is None:
        raise InvalidInput(f"{param} must be {DOCUMENT_FORMS}; other objects need rank_fields.", param=param)
    return text


def _named(item: Json, field: str, param: str) -> str:
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


def _schema_of_document() -> dict[str, object]:
    text = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    return {"anyOf": [{"type": "string"}, text]}


Query = Annotated[str, BeforeValidator(_query, json_schema_input_type=str)]
Documents = Annotated[
    list[str],
    BeforeValidator(_documents),
    Field(json_schema_extra={"items": _schema_of_document(), "minItems": 1}),
]
Count = Annotated[int | None, Field(ge=0)]
