"""Field types that dialects share: lenient where real clients are sloppy, strict where a guess would be wrong.

Real clients send explicit nulls, numbers as digit strings, booleans as words, one string for a list, and documents as objects.
A null means the default everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, ValidationInfo

from shortlist.api.dialects.dialect import Json
from shortlist.errors import EmptyInput, InvalidInput
from shortlist.types import OverflowPolicy, Truncation

QUERY_HINTS: Final = frozenset({"query", "search_query", "retrieval.query"})
"""Values of `input_type`, `task` or `prompt_name` that say: these texts are queries. Sources: docs of Voyage, Cohere, Jina."""

DOCUMENT_FORMS: Final = 'a string, or an object with a "text" field'


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


def _texts(value: object, info: ValidationInfo) -> object:
    name = info.field_name or "input"
    if isinstance(value, (str, dict)):
        value = [value]
    if not isinstance(value, list):
        raise InvalidInput(f"{name} must be a string or a list of strings.", param=name)
    if not value:
        raise EmptyInput(f"{name} must hold at least one string.", param=name)
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


def _right(value: object, info: ValidationInfo) -> object:
    if value is None or (isinstance(value, str) and value.lower() == "right"):
        return value
    raise InvalidInput(f"{info.field_name} must be right: texts are cut at their ends only.", param=info.field_name)


def _schema_of_document() -> dict[str, object]:
    text = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    return {"anyOf": [{"type": "string"}, text]}


def truncation(*, per_query: int | None = None, per_doc: int | None = None, per_prompt: int | None = None) -> Truncation:
    """Return the truncation limits, from fields in which 0 means none; for prompts -1 does, too."""
    return Truncation(
        max_tokens_per_query=per_query or None,
        max_tokens_per_doc=per_doc or None,
        truncate_prompt_tokens=prompt_tokens(per_prompt),
    )


def prompt_tokens(most: int | None) -> int | None:
    """Return the limit of `truncate_prompt_tokens`; None if it sets none."""
    return most if most is not None and most > 0 else None


def overflow(may_truncate: bool | None) -> OverflowPolicy:
    """Return the overflow policy; truncation by default."""
    return OverflowPolicy.ERROR if may_truncate is False else OverflowPolicy.TRUNCATE


def may_truncate(truncate: str | None) -> bool | None:
    """Return whether a text may be truncated, from the values of Cohere and NVIDIA.

    Raises:
        InvalidInput: the value truncates the start of texts.
    """
    if truncate == "START":
        raise InvalidInput("truncate must be END or NONE: texts are cut at their ends only.", param="truncate")
    return None if truncate is None else truncate != "NONE"


def usage(num_tokens: int) -> Json:
    """Return the counts in OpenAI's fields."""
    return {"prompt_tokens": num_tokens, "total_tokens": num_tokens}


Query = Annotated[str, BeforeValidator(_query, json_schema_input_type=str)]
Documents = Annotated[
    list[str], BeforeValidator(_documents), Field(json_schema_extra={"items": _schema_of_document(), "minItems": 1})
]
Texts = Annotated[list[str], BeforeValidator(_texts, json_schema_input_type=str | list[str])]
Count = Annotated[int | None, Field(ge=0)]
PromptTokens = Annotated[int | None, Field(ge=-1)]
"""vLLM's `truncate_prompt_tokens`: -1, 0 and nothing are as many as the model reads."""
Side = Annotated[str | None, BeforeValidator(_right)]
"""Where a text that is too long is cut; only its end can be."""
