"""OpenAPI, generated from the request models, the annotations of their answers, and the table of errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, get_args, get_type_hints

from fastapi.encoders import jsonable_encoder
from fastapi.openapi.models import OpenAPI
from fastapi.utils import deep_dict_update
from pydantic import TypeAdapter

from shortlist.api.dialects import ollama, openai, table, tei, vllm
from shortlist.api.dialects.common import DIALECT as COMMON
from shortlist.api.dialects.common import CommonRerankRequest
from shortlist.api.dialects.dialect import AnyRequestModel, Dialect, ErrorInfo, Json, RequestModel
from shortlist.api.dialects.explain import ExplainRequest
from shortlist.api.ollama_routes import ShowRequest
from shortlist.errors import Gone, NotReady, ServiceError
from shortlist.schemas.errors import ERRORS, ErrorKind
from shortlist.schemas.jobs import JobDescription, JobEvent, JobList, JobRequest, WebhookSecret
from shortlist.schemas.model_list import ModelDescription, ModelList
from shortlist.schemas.openai_batches import (
    MAX_EXPIRY_S,
    MIN_EXPIRY_S,
    BatchAnswer,
    BatchList,
    BatchRequest,
    DeletedFile,
    FileAnswer,
    FileList,
)

_Answer = Callable[..., object]

OF_JOBS: Final = frozenset({Gone, NotReady})
"""Errors of results, which no task has."""


def _operation(
    request_models: Sequence[type[RequestModel]], answers: Sequence[_Answer], dialects: Sequence[Dialect], examples: Json
) -> Json:
    schemas = [_inlined(request_model.model_json_schema()) for request_model in request_models]
    body = {"schema": _any_of(schemas), "examples": examples}
    answer = _any_of([_schema_of(get_type_hints(answer, include_extras=True)["return"]) for answer in answers])
    return {
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": _described("The answer.", answer), **_error_responses(dialects)},
    }


def _error_responses(dialects: Sequence[Dialect], *, left_out: Collection[type[ServiceError]] = OF_JOBS) -> dict[str, Json]:
    """Return the description and the schema of every error of some dialects, by status."""
    meanings: dict[int, list[str]] = {}
    bodies: dict[int, list[object]] = {}
    for dialect in dialects:
        _, body = get_args(get_type_hints(dialect.error_body)["return"])
        for kind in (kind for error, kind in ERRORS.items() if error not in left_out):
            status, _ = dialect.error_body(_example_of(kind))
            meanings.setdefault(status, []).append(kind.meaning)
            bodies.setdefault(status, []).append(_schema_of(body))
    return {
        str(status): _described(" ".join(dict.fromkeys(meanings[status])), _any_of(bodies[status]))
        for status in sorted(meanings)
    }


def _example_of(kind: ErrorKind) -> ErrorInfo:
    return ErrorInfo(status=kind.status, type=kind.type, code=kind.code, message=kind.meaning, param=None, request_id="")


def _described(text: str, schema: object) -> Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _any_of(schemas: Sequence[object]) -> object:
    """Return a schema for any of these, each once."""
    unique = [schema for index, schema in enumerate(schemas) if schema not in schemas[:index]]
    return unique[0] if len(unique) == 1 else {"anyOf": unique}


@cache
def _schema_of(annotation: Any) -> object:
    return _inlined(TypeAdapter(annotation).json_schema(mode="serialization"))


def _inlined(schema: dict[str, Any]) -> object:
    """Return a schema with its nested schemas inline: references cannot point into an inline schema."""
    definitions = schema.pop("$defs", {})

    def inline(part: object) -> object:
        if isinstance(part, list):
            return [inline(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return inline(definitions[str(part["$ref"]).rsplit("/", 1)[-1]])
        return {key: inline(value) for key, value in part.items()}

    return inline(schema)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A common path as /docs shows it: one dialect, with examples."""

    summary: str
    description: str
    request_model: type[AnyRequestModel]
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
        _RERANK_EXAMPLES,
    ),
    "/v2/rerank": _Shown(
        "Rank documents: Cohere v2",
        "The same under the path that Cohere's SDK calls; its base URL is this server's root.",
        CommonRerankRequest,
        _RERANK_EXAMPLES,
    ),
    "/rerank": _Shown(
        "Rank texts: Text Embeddings Inference",
        "With `texts` the answer is TEI's bare list; with `documents` it is that of /v1/rerank.",
        tei.TeiRerankRequest,
        {"texts": {"summary": "A query and its candidates", "value": tei.TeiRerankRequest.example}},
    ),
    "/score": _Shown(
        "Score pairs: vLLM",
        "In the order of the request: one with one, one with many, or many with as many.",
        vllm.VllmScoreRequest,
        {"one with many": {"summary": "One query, several texts", "value": vllm.VllmScoreRequest.example}},
    ),
    "/v1/embeddings": _Shown(
        "Embed texts: OpenAI",
        "Vectors of unit length.",
        openai.OpenAIEmbeddingsRequest,
        {
            "documents": {"summary": "Documents, as they are", "value": openai.OpenAIEmbeddingsRequest.example},
            "query": {"summary": "A query, with its instruction", "value": {"input": "what is a cat", "input_type": "query"}},
        },
    ),
}
"""The five dialects of most clients; the other paths have their own tag."""

OTHERS = "other dialects"

JOB_EXAMPLE: Json = {"path": "/v1/rerank", "body": CommonRerankRequest.example}


def _dialects(path: str) -> list[Dialect]:
    return list({dialect.name: dialect for dialect, _ in table.ENTRIES[path]}.values())


def of_path(path: str) -> dict[str, Any]:
    """Return the headings of a task's path, as FastAPI's arguments."""
    if shown := USUAL.get(path):
        return {"summary": shown.summary, "description": shown.description, "tags": ["tasks"]}
    names = sorted({dialect.name for dialect, _ in table.ENTRIES[path]})
    first = table.ENTRIES[path][0][1]
    return {"summary": ", ".join(names), "description": first.__doc__ or "", "tags": [OTHERS]}


def with_bodies(document: dict[str, Any]) -> dict[str, Any]:
    """Return FastAPI's document with the schemas of requests, answers and errors. It takes half a second."""
    for path in table.ENTRIES:
        deep_dict_update(document["paths"][path.replace(":path}", "}")]["post"], dict(task_operation(path)))
    for (path, method), operation in _OTHERS.items():
        deep_dict_update(document["paths"][path][method], dict(operation()))
    whole: dict[str, Any] = jsonable_encoder(OpenAPI(**document), by_alias=True, exclude_none=True)
    return whole


def task_operation(path: str) -> Json:
    """Return the schemas and examples of a task's path, as an OpenAPI operation."""
    if shown := USUAL.get(path):
        others = [request_model.answer for _, request_model in table.ENTRIES[path]]  # fields of the body select them
        return _operation([shown.request_model], [shown.request_model.answer, *others], _dialects(path), shown.examples)
    request_models = {
        f"{dialect.name}, {request_model.__name__}": request_model for dialect, request_model in table.ENTRIES[path]
    }
    examples = {
        name: {"summary": name, "value": request_model.example}
        for name, request_model in request_models.items()
        if request_model.example
    }
    free = [{"name": "rest", "in": "path", "required": True, "schema": {"type": "string"}}] if "{rest:path}" in path else []
    answers = [request_model.answer for request_model in request_models.values()]
    return {**_operation(list(request_models.values()), answers, _dialects(path), examples), "parameters": free}


def _model() -> Json:
    not_found = {"404": _error_responses([COMMON])["404"]}
    return {"responses": {"200": _described("The model.", _schema_of(ModelDescription)), **not_found}}


def _models() -> Json:
    return {"responses": {"200": _described("The models.", _schema_of(ModelList))}}


def _explain() -> Json:
    example = {"query": "how do I read a json file in python", "documents": ["open the file and call json.load"]}
    examples = {"doubt": {"summary": "Why is this not first?", "value": example}}
    return _operation([ExplainRequest], [ExplainRequest.explained], [COMMON], examples)


def _show() -> Json:
    body = {"schema": _inlined(ShowRequest.model_json_schema()), "examples": {"one": {"value": {"model": "demo"}}}}
    return {
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": _described("The model.", {"type": "object"}), **_error_responses([ollama.DIALECT])},
    }


def _answered(text: str, answer: object) -> Json:
    return {"responses": {"200": _described(text, _schema_of(answer)), **_error_responses([COMMON])}}


def _result() -> Json:
    """Describe the result of a job: the answer or the error of its path."""
    found = {"200": _described("The answer of the path that was asked.", {})}
    return {"responses": found | _error_responses([COMMON], left_out=())}


def _content() -> Json:
    schema = {"type": "string", "format": "binary"}
    found = {"description": "The bytes.", "content": {"application/octet-stream": {"schema": schema}}}
    return {"responses": {"200": found, **_error_responses([COMMON])}}


def _events() -> Json:
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": _schema_of(JobEvent)}
    event = {"type": "object", "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": data}}
    stream = {"description": "Events; the schema is that of one.", "content": {"text/event-stream": {"schema": event}}}
    return {"responses": {"200": stream, "204": {"description": "There is nothing more."}, **_error_responses([COMMON])}}


def _upload() -> Json:
    fields = {
        "file": {"type": "string", "format": "binary", "description": "Requests of a batch, one a line."},
        "purpose": {"type": "string", "enum": ["batch"]},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": MIN_EXPIRY_S, "maximum": MAX_EXPIRY_S},
    }
    form = {"schema": {"type": "object", "required": ["file", "purpose"], "properties": fields}}
    body = {"required": True, "content": {"multipart/form-data": form}}
    return {"requestBody": body, **_answered("The file.", FileAnswer)}


def _batch() -> Json:
    body = {"schema": _inlined(BatchRequest.model_json_schema())}
    content = {"required": True, "content": {"application/json": body}}
    return {"requestBody": content, **_answered("The batch.", BatchAnswer)}


def _submit() -> Json:
    body = {"schema": _inlined(JobRequest.model_json_schema()), "examples": {"one": {"value": JOB_EXAMPLE}}}
    dialects = {dialect.name: dialect for entries in table.ENTRIES.values() for dialect, _ in entries}
    errors = _error_responses([COMMON, *dialects.values()])  # a wrong body gets the error of its path
    return {
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"202": _described("The job.", _schema_of(JobDescription)), **errors},
    }


_OTHERS: Final[Mapping[tuple[str, str], Callable[[], Json]]] = {
    ("/v1/files", "post"): _upload,
    ("/v1/files", "get"): partial(_answered, "The files.", FileList),
    ("/v1/files/{file_id}", "get"): partial(_answered, "The file.", FileAnswer),
    ("/v1/files/{file_id}", "delete"): partial(_answered, "The deleted file.", DeletedFile),
    ("/v1/batches", "post"): _batch,
    ("/v1/batches", "get"): partial(_answered, "The batches.", BatchList),
    ("/v1/batches/{batch_id}", "get"): partial(_answered, "The batch.", BatchAnswer),
    ("/v1/batches/{batch_id}/cancel", "post"): partial(_answered, "The batch.", BatchAnswer),
    ("/v1/models/{name}", "get"): _model,
    ("/v1/models", "get"): _models,
    ("/v1/explain", "post"): _explain,
    ("/api/show", "post"): _show,
    ("/v1/jobs", "post"): _submit,
    ("/v1/jobs", "get"): partial(_answered, "The jobs.", JobList),
    ("/v1/jobs/{job_id}", "get"): partial(_answered, "The job.", JobDescription),
    ("/v1/jobs/{job_id}", "delete"): partial(_answered, "The job.", JobDescription),
    ("/v1/jobs/{job_id}/result", "get"): _result,
    ("/v1/jobs/{job_id}/events", "get"): _events,
    ("/v1/webhooks/secret", "get"): partial(_answered, "The secret.", WebhookSecret),
    ("/v1/webhooks/secret", "post"): partial(_answered, "The new secret.", WebhookSecret),
    ("/v1/files/{file_id}/content", "get"): _content,
}
