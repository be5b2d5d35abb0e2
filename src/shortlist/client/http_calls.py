"""Requests to bytes and answers to values, as pure functions for both clients."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import httpx2
import numpy as np
import orjson
from pydantic import BaseModel, FiniteFloat, ValidationError

from shortlist.client.errors import read_error
from shortlist.client.results import Embeddings, ModelEntry, NotRanked, RankedText, RankEntry, Ranking, RerankRequest, TimingMs
from shortlist.errors import InvalidInput, UpstreamError
from shortlist.types import Vector

T = TypeVar("T")
Answer = TypeVar("Answer", bound=BaseModel)
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class HttpCall(Generic[T]):
    """One HTTP request and the function that parses its response."""

    method: str
    path: str
    read: Callable[[httpx2.Response], T]
    body: bytes | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The content type of the body, if there is one."""
        return {} if self.body is None else {"content-type": "application/json"}


# -- building -----------------------------------------------------------------------------------------------------------


def rerank_call(request: RerankRequest) -> HttpCall[Ranking]:
    """Return the call that ranks documents.

    Requests never set `return_documents`: the client fills in the texts from the request.

    Raises:
        InvalidInput: `documents` is one string, or a text is not valid Unicode.
    """
    texts = _listed(request.documents, "documents")
    body = {"query": request.query, "documents": texts, "return_documents": False}
    options = {"model": request.model, "instruction": request.instruction, "top_n": request.top_n}
    read = partial(_read_ranking, texts=texts, has_text=request.return_documents)
    return HttpCall("POST", "/v1/rerank", read, _encoded(body, options))


def embed_call(
    texts: Sequence[str], *, model: str | None, is_query: bool, instruction: str | None, dimensions: int | None
) -> HttpCall[Embeddings]:
    """Return the call that embeds texts.

    Raises:
        InvalidInput: `texts` is one string, or a text is not valid Unicode.

    Source: `encoding_format: base64` is OpenAI's: little-endian float32, a quarter of the size of decimal digits.
    """
    inputs = _listed(texts, "texts")
    options = {
        "model": model,
        "input_type": "query" if is_query else None,
        "instruction": instruction,
        "dimensions": dimensions,
    }
    read = partial(_read_embeddings, num_texts=len(inputs))
    return HttpCall("POST", "/v1/embeddings", read, _encoded({"input": inputs, "encoding_format": "base64"}, options))


def models_call() -> HttpCall[list[ModelEntry]]:
    """Return the call that lists the models."""
    return HttpCall("GET", "/v1/models", _read_models)


def ready_call() -> HttpCall[bool]:
    """Return the call that checks readiness."""
    return HttpCall("GET", "/ready", lambda response: response.status_code == httpx2.codes.OK)


def _listed(texts: Sequence[str], param: str) -> list[str]:
    if isinstance(texts, str):
        raise InvalidInput(f"`{param}` must be a list of strings, not one string.", param=param)
    return list(texts)


def _encoded(body: Json, options: Json) -> bytes:
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return orjson.dumps({**body, **given})
    except TypeError as error:
        raise InvalidInput("Every text in the request must be a string of valid Unicode.") from error


# -- reading ------------------------------------------------------------------------------------------------------------


def rank_entries(ranking: Ranking) -> list[RankEntry]:
    """Return the ranking in the format of sentence-transformers."""
    return [_rank_entry(result) for result in ranking.results]


def _rank_entry(result: RankedText) -> RankEntry:
    if result.text is None:
        return {"corpus_id": result.index, "score": result.score}
    return {"corpus_id": result.index, "score": result.score, "text": result.text}


class _Result(BaseModel):
    index: int
    relevance_score: FiniteFloat


class _Span(BaseModel):
    start: int
    end: int


class _Chunked(BaseModel):
    index: int
    num_chunks: int
    best_chunk: _Span


class _Failed(BaseModel):
    index: int
    message: str


class RerankAnswer(BaseModel):
    """The fields of a rerank response that the client and the UI use."""

    model: str
    results: list[_Result]
    logits: list[float] = []
    truncated_documents: list[int] = []
    chunked_documents: list[_Chunked] = []
    failed_documents: list[_Failed] = []
    usage: object = None


class _Embedding(BaseModel):
    index: int
    embedding: str


class _EmbeddingsAnswer(BaseModel):
    model: str
    data: list[_Embedding]
    usage: object = None


class _Model(BaseModel):
    id: str
    tasks: list[str] = []
    max_model_len: int | None = None
    aliases: list[str] = []


class _ModelsAnswer(BaseModel):
    data: list[_Model]


def read_answer(kind: type[Answer], response: httpx2.Response) -> Answer:
    """Return the parsed response.

    Raises:
        ServiceError: the response is an error.
        UpstreamError: the response does not match the model.
    """
    if response.status_code != httpx2.codes.OK:
        raise read_error(response)
    try:
        return kind.model_validate_json(response.content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(map(str, first["loc"])) or "the body"
        raise _invalid_response(f"{path}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def read_timing(headers: httpx2.Headers) -> TimingMs:
    """Return the timing from the headers."""
    return TimingMs(
        total=read_number(headers.get("x-total-time")),
        tokenize=read_number(headers.get("x-tokenization-time")),
        queue=read_number(headers.get("x-queue-time")),
        compute=read_number(headers.get("x-inference-time")),
    )


def read_number(value: str | None) -> float | None:
    """Return the number in a header; None without one."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def read_num_tokens(usage: object) -> int:
    """Return the total tokens of a `usage` object; 0 without one."""
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) else 0


def _read_ranking(response: httpx2.Response, *, texts: list[str], has_text: bool) -> Ranking:
    answer, num_texts = read_answer(RerankAnswer, response), len(texts)
    indices = [_index(each.index, num_texts) for each in answer.results]
    return Ranking(
        model=answer.model,
        results=tuple(
            RankedText(index, each.relevance_score, texts[index] if has_text else None)
            for index, each in zip(indices, answer.results, strict=True)
        ),
        truncated=tuple(_index(index, num_texts) for index in answer.truncated_documents),
        failed=tuple(NotRanked(_index(each.index, num_texts), each.message) for each in answer.failed_documents),
        num_tokens=read_num_tokens(answer.usage),
        timing_ms=read_timing(response.headers),
        request_id=response.headers.get("x-request-id"),
    )


def _read_embeddings(response: httpx2.Response, *, num_texts: int) -> Embeddings:
    answer = read_answer(_EmbeddingsAnswer, response)
    vectors = {_index(each.index, num_texts): _read_vector(each.embedding) for each in answer.data}
    if len(vectors) != num_texts:
        raise _invalid_response(f"{len(vectors)} vectors for {num_texts} texts")
    return Embeddings(
        model=answer.model,
        vectors=[vectors[index] for index in range(num_texts)],
        num_tokens=read_num_tokens(answer.usage),
        timing_ms=read_timing(response.headers),
        request_id=response.headers.get("x-request-id"),
    )


def _read_vector(encoded: str) -> Vector:
    try:
        return np.frombuffer(base64.b64decode(encoded, validate=True), dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError) as error:
        raise _invalid_response("a vector is not base64 of float32") from error


def _read_models(response: httpx2.Response) -> list[ModelEntry]:
    return [
        ModelEntry(name=each.id, tasks=frozenset(each.tasks), max_model_len=each.max_model_len, aliases=tuple(each.aliases))
        for each in read_answer(_ModelsAnswer, response).data
    ]


def _index(index: int, num_texts: int) -> int:
    if not 0 <= index < num_texts:
        raise _invalid_response("an index is out of range of the texts sent")
    return index


def _invalid_response(what: str) -> UpstreamError:
    return UpstreamError(f"The server's response is invalid: {what}.", is_retryable=False)
