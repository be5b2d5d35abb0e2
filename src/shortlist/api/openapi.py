"""What /docs shows of bodies that the dialects read by themselves: shapes, examples and errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from shortlist.api.dialects.explain import ExplainRequest
from shortlist.api.dialects.openai import EmbeddingsRequest
from shortlist.api.dialects.superset import RerankRequest

_NUMBER = {"type": "number"}
_WHOLE = {"type": "integer"}
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_SPAN = {"type": "object", "properties": {"start": _WHOLE, "end": _WHOLE}}


def _object(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties}


def _list(items: object) -> dict[str, object]:
    return {"type": "array", "items": items}


_USAGE = _object(prompt_tokens=_WHOLE, total_tokens=_WHOLE)
_ERROR = _object(
    error=_object(message=_TEXT, type=_TEXT, param={"type": ["string", "null"]}, code=_TEXT),
    message=_TEXT,
    detail=_TEXT,
    request_id=_TEXT,
)
_RANKING = _object(
    id=_TEXT,
    object=_TEXT,
    model=_TEXT,
    results=_list(_object(index=_WHOLE, relevance_score=_NUMBER, document=_object(text=_TEXT))),
    usage=_USAGE,
    meta={"type": "object"},
    prompt=_object(template=_TEXT, preset=_TEXT),
    logits=_list(_NUMBER),
    details=_list(_object(index=_WHOLE, tokens_used=_WHOLE, tokens_total={"type": ["integer", "null"]}, truncated=_FLAG)),
    truncated_documents=_list(_WHOLE),
    chunked_documents=_list(_object(index=_WHOLE, num_chunks=_WHOLE, best_chunk=_SPAN)),
    failed_documents=_list(_object(index=_WHOLE, message=_TEXT)),
)
_VECTORS = _object(
    id=_TEXT,
    object=_TEXT,
    model=_TEXT,
    data=_list(_object(object=_TEXT, index=_WHOLE, embedding={"anyOf": [_list(_NUMBER), _TEXT]})),
    usage=_USAGE,
    truncated_documents=_list(_WHOLE),
)
_TOKENS = _list(_object(id=_WHOLE, text=_TEXT))
_EXPLANATION = _object(
    id=_TEXT,
    object=_TEXT,
    model=_TEXT,
    prompt=_object(template=_TEXT, preset=_TEXT, instruction={"type": ["string", "null"]}),
    documents=_list(
        _object(
            index=_WHOLE,
            relevance_score=_NUMBER,
            log_odds=_NUMBER,
            logits={"type": "object", "additionalProperties": _NUMBER},
            cached=_FLAG,
            tokens_used=_WHOLE,
            tokens_total={"type": ["integer", "null"]},
            truncated=_FLAG,
            num_chunks=_WHOLE,
            best_chunk=_SPAN,
            neutralised_tokens=_WHOLE,
            prompt=_TEXT,
            parts=_list(_object(name=_TEXT, num_tokens=_WHOLE, first=_TOKENS, last=_TOKENS)),
        )
    ),
    usage=_USAGE,
)
_FAILURES = {
    "400": "A field is missing, of the wrong type, out of range or too long; `param` names it.",
    "401": "The API key is missing or wrong.",
    "404": "No such model is served.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is compressed.",
    "429": "The server is busy; `Retry-After` says for how long.",
    "500": "The model failed on this input.",
    "502": "An upstream engine failed.",
    "503": "The server is starting or stopping, or its engine is gone.",
    "504": "The deadline passed.",
}


def _operation(shape: type[BaseModel], answer: dict[str, object], examples: dict[str, dict[str, object]]) -> dict[str, Any]:
    schema = shape.model_json_schema()
    # References cannot point into a schema that is written in place, so nested shapes are written in place too.
    body = {"schema": _inlined(schema, schema.pop("$defs", {})), "examples": examples}
    return {
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": answer}}},
            **{
                status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
                for status, text in _FAILURES.items()
            },
        },
    }


def _inlined(schema: object, definitions: dict[str, object]) -> object:
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[str(schema["$ref"]).rsplit("/", 1)[-1]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}


RERANK = _operation(
    RerankRequest,
    _RANKING,
    {
        "plain": {
            "summary": "A query and its candidates",
            "value": {
                "query": "how do I read a json file in python",
                "documents": ["bake bread at 220 C", "open the file and call json.load", "pythons are large snakes"],
            },
        },
        "instructed": {
            "summary": "With an instruction, the best two, without texts",
            "value": {
                "query": "memory leak after upgrade",
                "instruction": "Given a bug report, find the report of the same bug",
                "documents": ["RSS grows after 2.1", "crash on start", "leaks memory since the last release"],
                "top_n": 2,
                "return_documents": False,
            },
        },
    },
)

EXPLAIN = _operation(
    ExplainRequest,
    _EXPLANATION,
    {
        "doubt": {
            "summary": "Why is this not first?",
            "value": {"query": "how do I read a json file in python", "documents": ["open the file and call json.load"]},
        }
    },
)

EMBEDDINGS = _operation(
    EmbeddingsRequest,
    _VECTORS,
    {
        "documents": {"summary": "Documents, as they are", "value": {"input": ["first text", "second text"]}},
        "query": {"summary": "A query, with its instruction", "value": {"input": "what is a cat", "input_type": "query"}},
    },
)
