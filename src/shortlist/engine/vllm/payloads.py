"""Requests to and answers from vLLM: prompts to bytes, bytes to numbers.

Prompts are token ids, so Shortlist controls template, truncation and special tokens, and nothing is tokenized twice.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from shortlist.errors import UpstreamError
from shortlist.types import Ids, Task, TokenPrompt, Vector

PATHS: Final = {Task.RERANK: "/classify", Task.EMBED: "/v1/embeddings"}

_OPTIONS: Final = {Task.RERANK: b"", Task.EMBED: b',"encoding_format":"base64","embed_dtype":"float32","endianness":"little"'}

_NEARLY_ONE: Final = 0.01


def body_of(task: Task, prompts: Sequence[TokenPrompt], *, is_raw: bool = True) -> bytes:
    """Return the request body for these prompts; a shared prefix is encoded once.

    Args:
        task: What to compute.
        prompts: At least one.
        is_raw: Whether to request log-odds instead of probabilities.

    Source: vLLM 0.32, `entrypoints/pooling/{classify,embed}/protocol.py`: `input` may be a list of lists of ids.
    """
    prefixes = {id(prompt.prefix): _encode_ids(prompt.prefix.ids) for prompt in prompts}
    lists = (_joined(prefixes[id(prompt.prefix)], _encode_ids(prompt.ids)) for prompt in prompts)
    # Log-odds cannot be recovered from probabilities near 0 or 1.
    activation = b"false" if task is Task.RERANK and is_raw else b"true"
    options = b'"add_special_tokens":false,"use_activation":' + activation + _OPTIONS[task]
    return b'{"input":[[' + b"],[".join(lists) + b"]]," + options + b"}"


def _encode_ids(ids: Ids) -> bytes:
    return orjson.dumps(np.ascontiguousarray(ids), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _joined(prefix: bytes, own: bytes) -> bytes:
    return prefix + b"," + own if prefix else own


def scores_of(content: bytes, num_prompts: int) -> list[float]:
    """Return one log-odds per prompt.

    Raises:
        UpstreamError: the response is invalid.
    """
    return [_score(each) for each in _data(content, num_prompts)]


def vectors_of(content: bytes, num_prompts: int) -> list[Vector]:
    """Return one unit vector per prompt, all of the same width.

    Raises:
        UpstreamError: the response is invalid.
    """
    vectors = [_vector(each) for each in _data(content, num_prompts)]
    if len({len(vector) for vector in vectors}) != 1:
        raise wrong("vectors of several widths")
    return vectors


def wrong(what: str) -> UpstreamError:
    """Return the error for an invalid response."""
    return UpstreamError(f"vLLM answered with {what}.", is_retryable=True)


def _data(content: bytes, num_prompts: int) -> list[dict[str, Any]]:
    """Return the response's item of every prompt, in order."""
    try:
        data = orjson.loads(content)["data"]
        ordered: list[dict[str, Any]] = sorted(data, key=lambda each: each["index"])
        places = [each["index"] for each in ordered]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise wrong("something that cannot be read") from None
    if places != list(range(num_prompts)):
        raise wrong(f"{len(places)} results for {num_prompts} prompts")
    return ordered


def _score(each: dict[str, Any]) -> float:
    numbers = each.get("probs")
    if not isinstance(numbers, list) or len(numbers) != 1 or not isinstance(numbers[0], int | float):
        raise wrong("something else than one score per prompt")
    return float(numbers[0])


def _vector(each: dict[str, Any]) -> Vector:
    try:
        vector = np.frombuffer(base64.b64decode(each["embedding"], validate=True), dtype="<f4").astype(np.float32)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise wrong("something else than a vector per prompt") from None
    length = float(np.linalg.norm(vector))
    # vLLM rounds to 16 bits before it normalises: lengths near one are corrected, others are left for the checks.
    return vector / np.float32(length) if abs(length - 1) < _NEARLY_ONE else vector
