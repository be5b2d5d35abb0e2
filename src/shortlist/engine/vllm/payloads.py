"""Requests to and answers from vLLM: prompts to bytes, bytes to numbers.

Prompts are token ids, so Shortlist controls template, truncation and special tokens, and nothing is tokenized twice.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from shortlist.errors import UpstreamError
from shortlist.types import EMBED, RERANK, Ids, Operation, TokenPrefix, TokenPrompt, Value, Vector

_NEARLY_ONE: Final = 0.01

_NONE: Final = np.empty(0, dtype=np.int32)
_PROBE_LENGTHS: Final = (5, 9, 33)

MAX_ODDS_GAP: Final = 0.25
MIN_COSINE: Final = 0.98
"""How far values of the same prompt may differ: 16-bit numbers depend on what else is in a batch."""


class OtherModel(UpstreamError):
    """The response names another model than the server had at the start."""

    def __init__(self, message: str = "vLLM serves another model than at the start.") -> None:
        super().__init__(message, is_retryable=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Identity:
    """What a server serves.

    Attributes:
        model: Served model name.
        root: The loaded model: a folder, or a hub name.
        max_model_len: Longest prompt in tokens.
        dimensions: Width of its vectors; None for a reranker.
        values: Its values of `probe_prompts`.
    """

    model: str
    root: str
    max_model_len: int
    dimensions: int | None
    values: Sequence[Value]

    @property
    def listed(self) -> ListedModel:
        """What `/v1/models` shows of it."""
        return ListedModel(self.model, self.root, self.max_model_len)


class ListedModel(NamedTuple):
    """A model as `/v1/models` lists it."""

    model: str
    root: str
    max_model_len: int


def probe_prompts() -> list[TokenPrompt]:
    """Return a few prompts with ids of every vocabulary."""
    prefix = TokenPrefix(_NONE)
    return [TokenPrompt(prefix, np.arange(1, length, dtype=np.int32)) for length in _PROBE_LENGTHS]


def listed_model(content: bytes) -> ListedModel | None:
    """Return the served model of a `/v1/models` response, which is not an adapter; None if the response is invalid."""
    try:
        [found, *_] = [each for each in orjson.loads(content)["data"] if not each.get("parent")]
        model, root, max_model_len = found["id"], found["root"], found["max_model_len"]
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError):
        return None
    is_valid = isinstance(model, str) and isinstance(root, str) and type(max_model_len) is int
    return ListedModel(model, root, max_model_len) if is_valid and 0 < max_model_len < 1 << 31 else None


def are_close(operation: Operation, values: Sequence[Value], others: Sequence[Value]) -> bool:
    """Return whether values of the same prompts can be of the same model."""
    if operation is RERANK:
        return all(abs(one - other) <= MAX_ODDS_GAP * (1 + abs(other) / 5) for one, other in zip(values, others, strict=True))
    return all(float(np.dot(one, other)) >= MIN_COSINE for one, other in zip(values, others, strict=True))


def max_bytes(num_prompts: int) -> int:
    """Return the largest response for this many prompts: vectors of 16,384 numbers in base64, and as much again."""
    return (num_prompts + 1) * (1 << 17)


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


def scores_of(content: bytes, num_prompts: int, identity: Identity | None = None) -> list[float]:
    """Return one log-odds per prompt.

    Raises:
        UpstreamError: the response is invalid, or of another model.
    """
    return [_score(each) for each in _data(content, num_prompts, identity)]


def vectors_of(content: bytes, num_prompts: int, identity: Identity | None = None) -> list[Vector]:
    """Return one unit vector per prompt, all of the same width.

    Raises:
        UpstreamError: the response is invalid, or of another model.
    """
    vectors = [_vector(each) for each in _data(content, num_prompts, identity)]
    widths = {len(vector) for vector in vectors}
    if len(widths) != 1:
        raise wrong("vectors of several widths")
    if identity is not None and widths != {identity.dimensions}:
        raise wrong("vectors of another width")
    return vectors


def wrong(what: str) -> UpstreamError:
    """Return the error for an invalid response."""
    return UpstreamError(f"vLLM answered with {what}.", is_retryable=True)


def _data(content: bytes, num_prompts: int, identity: Identity | None) -> list[dict[str, Any]]:
    """Return the response's item of every prompt, in order."""
    try:
        body = orjson.loads(content)
        data, model = body["data"], body.get("model")
        ordered: list[dict[str, Any]] = sorted(data, key=lambda each: each["index"])
        places = [each["index"] for each in ordered]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise wrong("something that cannot be read") from None
    if identity is not None and isinstance(model, str) and model != identity.model:
        raise OtherModel
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
        read: Reads the values of this many prompts from a response of the model with this identity.
        uses_activation: Whether to apply the final activation or normalisation.
        options: Further request fields, as JSON with a leading comma.
    """

    path: str
    read: Callable[[bytes, int, Identity | None], Sequence[Value]]
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
