"""OpenAPI of bodies that the dialects validate themselves: schemas, examples and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shortlist.api.dialects import table, tei, vllm
from shortlist.api.dialects.common import CommonRerankRequest
from shortlist.api.dialects.dialect import Json, RequestModel
from shortlist.api.dialects.explain import ExplainRequest
from shortlist.api.dialects.openai import OpenAIEmbeddingsRequest

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
    "422": "As 400, from the paths of Text Embeddings Inference.",
    "424": "As 500, from the paths of Text Embeddings Inference.",
    "429": "The server is busy; `Retry-After` says for how long.",
    "500": "The model failed on this input.",
    "502": "An upstream engine failed.",
    "503": "The server is starting or stopping, or its engine is gone.",
    "504": "The deadline passed.",
}


def _operation(request_models: Sequence[type[RequestModel]], answer: Json, examples: Json) -> Json:
    schemas = [_schema(request_model) for request_model in request_models]
    body = {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}, "examples": examples}
    failures = {status: _described(text, {"anyOf": [_ERROR, {"type": "object"}]}) for status, text in _FAILURES.items()}
    return {
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": _described("The answer.", answer), **failures},
    }


def _described(text: str, schema: object) -> Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _schema(request_model: type[RequestModel]) -> object:
    schema = request_model.model_json_schema()
    # References cannot point into an inline schema, so nested schemas are inline too.
    return _inlined(schema, schema.pop("$defs", {}))


def _inlined(schema: object, definitions: dict[str, object]) -> object:
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[str(schema["$ref"]).rsplit("/", 1)[-1]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}


@dataclass(frozen=True, slots=True)
class _Shown:
    """A common path as /docs shows it: one dialect, with examples."""

    summary: str
    description: str
    request_model: type[RequestModel]
    answer: Json
    examples: Json


_RERANK_EXAMPLES: Json = {
    "plain": {"summary": "A query and its candidates", "value": CommonRerankRequest.example},
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
}

USUAL: Mapping[str, _Shown] = {
    "/v1/rerank": _Shown(
        "Rank documents: Jina, vLLM, Cohere v1, Xinference, SiliconFlow",
        "Best first, each with a relevance between 0 and 1.",
        CommonRerankRequest,
        _RANKING,
        _RERANK_EXAMPLES,
    ),
    "/v2/rerank": _Shown(
        "Rank documents: Cohere v2",
        "The same under the path that Cohere's SDK calls; its base URL is this server's root.",
        CommonRerankRequest,
        _RANKING,
        _RERANK_EXAMPLES,
    ),
    "/rerank": _Shown(
        "Rank texts: Text Embeddings Inference",
        "With `texts` the answer is TEI's bare list; with `documents` it is that of /v1/rerank.",
        tei.TeiRerankRequest,
        _list(_object(index=_WHOLE, score=_NUMBER, text=_TEXT)),
        {"texts": {"summary": "A query and its candidates", "value": tei.TeiRerankRequest.example}},
    ),
    "/score": _Shown(
        "Score pairs: vLLM",
        "In the order of the request: one with one, one with many, or many with as many.",
        vllm.VllmScoreRequest,
        _object(id=_TEXT, object=_TEXT, created=_WHOLE, model=_TEXT, data=_list({"type": "object"}), usage=_USAGE),
        {"one with many": {"summary": "One query, several texts", "value": vllm.VllmScoreRequest.example}},
    ),
    "/v1/embeddings": _Shown(
        "Embed texts: OpenAI",
        "Vectors of unit length.",
        OpenAIEmbeddingsRequest,
        _VECTORS,
        {
            "documents": {"summary": "Documents, as they are", "value": OpenAIEmbeddingsRequest.example},
            "query": {"summary": "A query, with its instruction", "value": {"input": "what is a cat", "input_type": "query"}},
        },
    ),
}
"""The five dialects of most clients; the other paths have their own tag."""

OTHERS = "other dialects"


def of_path(path: str) -> dict[str, Any]:
    """Return the documentation of a task's path, as FastAPI's arguments."""
    if shown := USUAL.get(path):
        operation = _operation([shown.request_model], shown.answer, shown.examples)
        return {"summary": shown.summary, "description": shown.description, "tags": ["tasks"], "openapi_extra": operation}
    request_models = {
        f"{dialect.name}, {request_model.__name__}": request_model for dialect, request_model in table.ENTRIES[path]
    }
    names = sorted({dialect.name for dialect, _ in table.ENTRIES[path]})
    examples = {
        name: {"summary": name, "value": request_model.example}
        for name, request_model in request_models.items()
        if request_model.example
    }
    free = [{"name": "rest", "in": "path", "required": True, "schema": _TEXT}] if "{rest:path}" in path else []
    return {
        "summary": ", ".join(names),
        "description": next(iter(request_models.values())).__doc__ or "",
        "tags": [OTHERS],
        "openapi_extra": {**_operation(list(request_models.values()), {}, examples), "parameters": free},
    }


NO_SUCH_MODEL: dict[int | str, dict[str, Any]] = {404: {"description": _FAILURES["404"]}}

EXPLAIN: dict[str, Any] = dict(
    _operation(
        [ExplainRequest],
        _EXPLANATION,
        {
            "doubt": {
                "summary": "Why is this not first?",
                "value": {"query": "how do I read a json file in python", "documents": ["open the file and call json.load"]},
            }
        },
    )
)
