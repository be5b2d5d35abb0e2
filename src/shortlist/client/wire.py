"""Calls as they are written and answers as they are read: pure functions between values and bytes.

Both clients use these, so there is one spelling of every request and one reading of every answer. Whether, when and how often
a call is sent is not known here.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, cast

import httpx2
import numpy as np
import orjson

from shortlist.client.faults import read_fault
from shortlist.client.results import Embeddings, ModelEntry, NotRanked, RankedText, RankEntry, Ranking, TimingMs
from shortlist.errors import InvalidInput, UpstreamError
from shortlist.types import Vector

T = TypeVar("T")
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request before it is sent, and how to read what comes back."""

    method: str
    path: str
    read: Callable[[httpx2.Response], T]
    body: bytes | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What the body needs said about it."""
        return {} if self.body is None else {"content-type": "application/json"}


# -- building -----------------------------------------------------------------------------------------------------------


def rerank_call(
    query: str,
    documents: Sequence[str],
    *,
    model: str | None,
    instruction: str | None,
    top_n: int | None,
    return_documents: bool,
) -> Call[Ranking]:
    """Return the call that ranks documents.

    The server is always asked to leave the texts out: the caller has them already, so they are put back from there.

    Raises:
        InvalidInput: `documents` is one string, or a text is not valid Unicode.
    """
    texts = _listed(documents, "documents")
    body = {"query": query, "documents": texts, "return_documents": False}
    options = {"model": model, "instruction": instruction, "top_n": top_n}
    read = partial(_read_ranking, texts=texts, has_text=return_documents)
    return Call("POST", "/v1/rerank", read, _encoded(body, options))


def embed_call(
    texts: Sequence[str], *, model: str | None, is_query: bool, instruction: str | None, dimensions: int | None
) -> Call[Embeddings]:
    """Return the call that turns texts into vectors.

    Raises:
        InvalidInput: `texts` is one string, or a text is not valid Unicode.

    Source: `encoding_format: base64` is OpenAI's: little-endian float32, a quarter of the size of digits.
    """
    inputs = _listed(texts, "texts")
    options = {
        "model": model,
        "input_type": "query" if is_query else None,
        "instruction": instruction,
        "dimensions": dimensions,
    }
    read = partial(_read_embeddings, num_texts=len(inputs))
    return Call("POST", "/v1/embeddings", read, _encoded({"input": inputs, "encoding_format": "base64"}, options))


def models_call() -> Call[list[ModelEntry]]:
    """Return the call that lists the models."""
    return Call("GET", "/v1/models", _read_models)


def ready_call() -> Call[bool]:
    """Return the call that asks whether the server takes work."""
    return Call("GET", "/ready", lambda response: response.status_code == httpx2.codes.OK)


def _listed(texts: Sequence[str], param: str) -> list[str]:
    if isinstance(texts, str):
        raise InvalidInput(f"`{param}` must be a list of strings, not one string.", param=param)
    return list(texts)


def _encoded(body: Json, options: Json) -> bytes:
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return orjson.dumps({**body, **given})
    except TypeError as error:
        raise InvalidInput("Something in the request is not text, or not valid Unicode.") from error


# -- reading ------------------------------------------------------------------------------------------------------------


def rank_entries(ranking: Ranking) -> list[RankEntry]:
    """Return the ranking as sentence-transformers would."""
    return [_rank_entry(result) for result in ranking.results]


def _rank_entry(result: RankedText) -> RankEntry:
    if result.text is None:
        return {"corpus_id": result.index, "score": result.score}
    return {"corpus_id": result.index, "score": result.score, "text": result.text}


def _read_ranking(response: httpx2.Response, *, texts: list[str], has_text: bool) -> Ranking:
    answer = _answer(response)
    return Ranking(
        model=_string(answer, "model"),
        results=tuple(_read_result(item, texts, has_text=has_text) for item in _objects(answer, "results")),
        truncated=tuple(_index(value, len(texts)) for value in _list(answer, "truncated_documents", default=True)),
        failed=tuple(_read_failed(item, len(texts)) for item in _objects(answer, "failed_documents", default=True)),
        num_tokens=_read_num_tokens(answer),
        timing_ms=_read_timing(response.headers),
        request_id=response.headers.get("x-request-id"),
    )


def _read_result(item: Json, texts: list[str], *, has_text: bool) -> RankedText:
    index = _index(item.get("index"), len(texts))
    score = item.get("relevance_score")
    if not isinstance(score, int | float) or not math.isfinite(score):
        raise _broken("a score is missing or is not a number")
    return RankedText(index, float(score), texts[index] if has_text else None)


def _read_failed(item: Json, num_texts: int) -> NotRanked:
    return NotRanked(_index(item.get("index"), num_texts), _string(item, "message"))


def _read_embeddings(response: httpx2.Response, *, num_texts: int) -> Embeddings:
    answer = _answer(response)
    vectors = {_index(item.get("index"), num_texts): _read_vector(item) for item in _objects(answer, "data")}
    if len(vectors) != num_texts:
        raise _broken(f"{len(vectors)} vectors came back for {num_texts} texts")
    return Embeddings(
        model=_string(answer, "model"),
        vectors=[vectors[index] for index in range(num_texts)],
        num_tokens=_read_num_tokens(answer),
        timing_ms=_read_timing(response.headers),
        request_id=response.headers.get("x-request-id"),
    )


def _read_vector(item: Json) -> Vector:
    try:
        raw = base64.b64decode(_string(item, "embedding"), validate=True)
        return np.frombuffer(raw, dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError) as error:
        raise _broken("a vector is not base64 of float32") from error


def _read_models(response: httpx2.Response) -> list[ModelEntry]:
    return [_read_model(item) for item in _objects(_answer(response), "data")]


def _read_model(item: Json) -> ModelEntry:
    length = item.get("max_model_len")
    return ModelEntry(
        name=_string(item, "id"),
        tasks=frozenset(str(task) for task in _list(item, "tasks", default=True)),
        max_model_len=length if isinstance(length, int) else None,
        aliases=tuple(str(alias) for alias in _list(item, "aliases", default=True)),
    )


def _read_timing(headers: httpx2.Headers) -> TimingMs:
    return TimingMs(
        total=_milliseconds(headers.get("x-total-time")),
        tokenize=_milliseconds(headers.get("x-tokenization-time")),
        queue=_milliseconds(headers.get("x-queue-time")),
        compute=_milliseconds(headers.get("x-inference-time")),
    )


def _milliseconds(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _read_num_tokens(answer: Json) -> int:
    usage = answer.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) else 0


# -- JSON of a known shape ----------------------------------------------------------------------------------------------


def _answer(response: httpx2.Response) -> Json:
    """Return the JSON object of a good answer; raise what a bad one stands for."""
    if response.status_code != httpx2.codes.OK:
        raise read_fault(response)
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise _broken("it is not JSON, or only half of it arrived") from error
    if not isinstance(answer, dict):
        raise _broken("it is not a JSON object")
    return answer


def _list(answer: Json, name: str, *, default: bool = False) -> list[object]:
    value = answer.get(name)
    if value is None and default:
        return []
    if not isinstance(value, list):
        raise _broken(f"`{name}` is not a list")
    return value


def _objects(answer: Json, name: str, *, default: bool = False) -> list[Json]:
    items = _list(answer, name, default=default)
    if not all(isinstance(item, dict) for item in items):
        raise _broken(f"`{name}` holds something that is not an object")
    return cast("list[Json]", items)


def _string(answer: Json, name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise _broken(f"`{name}` is not a string")
    return value


def _index(value: object, num_texts: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < num_texts:
        raise _broken("it points at a text that was not sent")
    return value


def _broken(what: str) -> UpstreamError:
    return UpstreamError(f"The server's answer cannot be read: {what}.", is_retryable=False)
