"""Requests to and answers from vLLM: prompts to bytes, bytes to numbers.

Prompts are token ids, so Shortlist controls template, truncation and special tokens, and nothing is tokenized twice.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from shortlist.errors import UpstreamError
from shortlist.types import EMBED, RERANK, Ids, Operation, TokenPrompt, Value, Vector

_NEARLY_ONE: Final = 0.01


def body_of(operation: Operation, prompts: Sequence[TokenPrompt], *, use_activation: bool | None = None) -> bytes:
    """Return the request body for these prompts; a shared prefix is encoded once.

    Args:
        operation: What to compute.
        prompts: At least one.
        use_activation: Whether to request probabilities instead of log-odds; None for what the operation needs.

    Source: vLLM 0.32, `entrypoints/pooling/{classify,embed}/protocol.py`: `input` may be a list of lists of ids.
    """
    prefixes = {id(prompt.prefix): _encode_ids(prompt.prefix.ids) for prompt in prompts}
    lists = (_joined(prefixes[id(prompt.prefix)], _encode_ids(prompt.ids)) for prompt in prompts)
    endpoint = ENDPOINTS[operation]
    activation = orjson.dumps(endpoint.uses_activation if use_activation is None else use_activation)
    options = b'"add_special_tokens":false,"use_activation":' + activation + endpoint.options
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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How vLLM computes an operation.

    Attributes:
        path: The path of requests.
        read: Reads the values of this many prompts from a response.
        uses_activation: Whether to apply the final activation or normalisation.
        options: Further request fields, as JSON with a leading comma.
    """

    path: str
    read: Callable[[bytes, int], Sequence[Value]]
    uses_activation: bool
    options: bytes = b""


ENDPOINTS: Final[Mapping[Operation, Endpoint]] = {
    # Log-odds cannot be recovered from probabilities near 0 or 1.
    RERANK: Endpoint("/classify", scores_of, uses_activation=False),
    EMBED: Endpoint(
        "/v1/embeddings",
        vectors_of,
        uses_activation=True,
        options=b',"encoding_format":"base64","embed_dtype":"float32","endianness":"little"',
    ),
}
