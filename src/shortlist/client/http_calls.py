"""Requests to bytes and answers to values, as pure functions for both clients."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, TypeVar

import httpx2
import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from shortlist.client.errors import read_error
from shortlist.client.results import (
    Embeddings,
    EmbedRequest,
    ModelEntry,
    NotRanked,
    RankedText,
    RankEntry,
    Ranking,
    RerankRequest,
    TimingMs,
)
from shortlist.errors import InvalidInput, UpstreamError
from shortlist.schemas.embed import EmbeddingsAnswer, EmbeddingsRequestBody
from shortlist.schemas.fields import RequestFields, invalid_input
from shortlist.schemas.model_list import ModelList
from shortlist.schemas.rerank import RerankAnswer, RerankRequestBody, TokenUsage
from shortlist.types import Vector

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpCall(Generic[T]):
    """One HTTP request and the function that parses its response.

    Attributes:
        method: Its method.
        path: Its path, with the query string.
        read: Returns the value of a response, or raises its error.
        body: Its body, JSON unless `more_headers` says otherwise.
        more_headers: Its headers.
        is_repeatable: Whether it may be sent again when its connection broke, and the server may have handled it.
    """

    method: str
    path: str
    read: Callable[[httpx2.Response], T]
    body: bytes | None = None
    more_headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The content type of the body, if there is one, and further headers, which may replace it."""
        return ({} if self.body is None else {"content-type": "application/json"}) | dict(self.more_headers)


# -- building -----------------------------------------------------------------------------------------------------------


def rerank_call(request: RerankRequest) -> HttpCall[Ranking]:
    """Return the call that ranks documents.

    Requests never set `return_documents`: the client fills in the texts from the request.

    Raises:
        InvalidInput: an argument is invalid.
    """
    texts = _listed(request.documents, "documents")
    with _validated():
        body = RerankRequestBody(
            query=request.query,
            documents=texts,
            return_documents=False,
            model=request.model,
            instruction=request.instruction,
            top_n=request.top_n,
        )
    read = partial(_read_ranking, texts=texts, has_text=request.return_documents)
    return HttpCall("POST", "/v1/rerank", read, _encoded(body))


def embed_call(request: EmbedRequest) -> HttpCall[Embeddings]:
    """Return the call that embeds texts.

    Raises:
        InvalidInput: an argument is invalid.

    Source: `encoding_format: base64` is OpenAI's: little-endian float32, a quarter of the size of decimal digits.
    """
    inputs = _listed(request.texts, "texts")
    with _validated():
        body = EmbeddingsRequestBody(
            input=inputs,
            encoding_format="base64",
            model=request.model,
            input_type="query" if request.is_query else None,
            instruction=request.instruction,
            dimensions=request.dimensions,
        )
    return HttpCall("POST", "/v1/embeddings", partial(_read_embeddings, num_texts=len(inputs)), _encoded(body))


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


def _encoded(body: RequestFields) -> bytes:
    try:
        return orjson.dumps(body.to_json())
    except TypeError as error:
        raise InvalidInput("Every text in the request must be a string of valid Unicode.") from error


@contextmanager
def _validated() -> Iterator[None]:
    """Raise `InvalidInput` for an invalid request, as the server would."""
    try:
        yield
    except ValidationError as error:
        raise invalid_input(error) from None


# -- reading ------------------------------------------------------------------------------------------------------------


def rank_entries(ranking: Ranking) -> list[RankEntry]:
    """Return the ranking in the format of sentence-transformers."""
    return [_rank_entry(result) for result in ranking.results]


def _rank_entry(result: RankedText) -> RankEntry:
    if result.text is None:
        return {"corpus_id": result.index, "score": result.score}
    return {"corpus_id": result.index, "score": result.score, "text": result.text}


RERANK_ANSWER: Final = TypeAdapter(RerankAnswer)
_EMBEDDINGS_ANSWER: Final = TypeAdapter(EmbeddingsAnswer)
_MODEL_LIST: Final = TypeAdapter(ModelList)


def read_answer(adapter: TypeAdapter[T], response: httpx2.Response) -> T:
    """Return the parsed response.

    Raises:
        ServiceError: the response is an error.
        UpstreamError: the response does not match the schema.
    """
    if response.status_code not in {httpx2.codes.OK, httpx2.codes.ACCEPTED}:
        raise read_error(response)
    try:
        return adapter.validate_json(response.content, strict=True)
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


def read_num_tokens(usage: TokenUsage | None) -> int:
    """Return the total tokens; 0 if not reported."""
    return 0 if usage is None else usage["total_tokens"]


def _read_ranking(response: httpx2.Response, *, texts: list[str], has_text: bool) -> Ranking:
    answer, num_texts = read_answer(RERANK_ANSWER, response), len(texts)
    indices = [_index(each["index"], num_texts) for each in answer["results"]]
    failed = answer.get("failed_documents", [])
    return Ranking(
        model=answer["model"],
        results=tuple(
            RankedText(index, each["relevance_score"], texts[index] if has_text else None)
            for index, each in zip(indices, answer["results"], strict=True)
        ),
        truncated=tuple(_index(index, num_texts) for index in answer.get("truncated_documents", [])),
        failed=tuple(NotRanked(_index(each["index"], num_texts), each["message"]) for each in failed),
        num_tokens=read_num_tokens(answer.get("usage")),
        timing_ms=read_timing(response.headers),
        request_id=response.headers.get("x-request-id"),
    )


def _read_embeddings(response: httpx2.Response, *, num_texts: int) -> Embeddings:
    answer = read_answer(_EMBEDDINGS_ANSWER, response)
    vectors = {_index(each["index"], num_texts): _read_vector(each["embedding"]) for each in answer["data"]}
    if len(vectors) != num_texts:
        raise _invalid_response(f"{len(vectors)} vectors for {num_texts} texts")
    return Embeddings(
        model=answer["model"],
        vectors=[vectors[index] for index in range(num_texts)],
        num_tokens=read_num_tokens(answer.get("usage")),
        timing_ms=read_timing(response.headers),
        request_id=response.headers.get("x-request-id"),
    )


def _read_vector(encoded: Vector | list[int] | str) -> Vector:
    if not isinstance(encoded, str):
        return np.asarray(encoded, np.float32)
    try:
        return np.frombuffer(base64.b64decode(encoded, validate=True), dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError) as error:
        raise _invalid_response("a vector is not base64 of float32") from error


def _read_models(response: httpx2.Response) -> list[ModelEntry]:
    return [
        ModelEntry(
            name=each["id"],
            tasks=frozenset(each.get("tasks", [])),
            max_model_len=each.get("max_model_len"),
            aliases=tuple(each.get("aliases", [])),
        )
        for each in read_answer(_MODEL_LIST, response)["data"]
    ]


def _index(index: int, num_texts: int) -> int:
    if not 0 <= index < num_texts:
        raise _invalid_response("an index is out of range of the texts sent")
    return index


def _invalid_response(what: str) -> UpstreamError:
    return UpstreamError(f"The server's response is invalid: {what}.", is_retryable=False)
