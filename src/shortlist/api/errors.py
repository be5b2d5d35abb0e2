"""Maps errors to status, type and code. The dialect determines the body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from shortlist.api.dialects.dialect import Dialect, ErrorInfo, common_error_body
from shortlist.errors import (
    BodyTooLarge,
    BodyTooSlow,
    CallerError,
    DeadlineExceeded,
    Draining,
    EmptyInput,
    EngineError,
    EngineOutOfMemory,
    EngineUnavailable,
    InputTooLong,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    ServiceError,
    Unauthenticated,
    UnknownModel,
    UnsupportedMedia,
    UpstreamError,
    WrongModel,
)


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    type: str
    code: str


_KINDS: Mapping[type[ServiceError], _Kind] = {
    InvalidInput: _Kind(400, "invalid_request_error", "invalid_input"),
    EmptyInput: _Kind(400, "invalid_request_error", "empty_input"),
    WrongModel: _Kind(400, "invalid_request_error", "wrong_model"),
    InputTooLong: _Kind(400, "invalid_request_error", "context_length_exceeded"),
    Unauthenticated: _Kind(401, "authentication_error", "invalid_api_key"),
    NotFound: _Kind(404, "invalid_request_error", "not_found"),
    UnknownModel: _Kind(404, "invalid_request_error", "model_not_found"),
    MethodNotAllowed: _Kind(405, "invalid_request_error", "invalid_input"),
    BodyTooSlow: _Kind(408, "invalid_request_error", "request_timeout"),
    BodyTooLarge: _Kind(413, "invalid_request_error", "request_too_large"),
    UnsupportedMedia: _Kind(415, "invalid_request_error", "unsupported_media_type"),
    Overloaded: _Kind(429, "rate_limit_error", "rate_limit_exceeded"),
    EngineOutOfMemory: _Kind(500, "server_error", "out_of_memory"),
    EngineError: _Kind(500, "server_error", "engine_error"),
    UpstreamError: _Kind(502, "server_error", "upstream_error"),
    EngineUnavailable: _Kind(503, "server_error", "engine_unavailable"),
    Draining: _Kind(503, "server_error", "unavailable"),
    DeadlineExceeded: _Kind(504, "server_error", "deadline_exceeded"),
}
_UNKNOWN = _Kind(500, "server_error", "internal_error")

RETRY_UNAVAILABLE_S = 1
"""`Retry-After` while the server starts, stops or has no engine."""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def answer(error: ServiceError, *, request_id: str, dialect: Dialect | None = None) -> ErrorAnswer:
    """Return the response to this error, in the caller's dialect if it is known."""
    kind = next((_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS), _UNKNOWN)
    fault = ErrorInfo(
        status=kind.status,
        type=kind.type,
        code=kind.code,
        message=error.message,
        param=error.param if isinstance(error, CallerError) else None,
        request_id=request_id,
    )
    status, body = dialect.error_body(fault) if dialect else common_error_body(fault)
    return ErrorAnswer(status, _headers(error, kind.status), orjson.dumps(body))


def from_validation(error: ValidationError) -> InvalidInput:
    """Return the first validation error of a request; it names the field, never the value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "missing":
        return InvalidInput(f"{param} is required.", param=param)
    return InvalidInput(f"{param}: {first['msg'][0].lower()}{first['msg'][1:]}.", param=param or None)


def _headers(error: ServiceError, status: int) -> dict[str, str]:
    if isinstance(error, Overloaded):
        return {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, MethodNotAllowed):
        return {"allow": error.allow}
    if status == 503:
        return {"retry-after": str(RETRY_UNAVAILABLE_S)}
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": 'Basic realm="Shortlist"'}  # browsers prompt for it; programs send Bearer unprompted
    if isinstance(error, (BodyTooLarge, BodyTooSlow, Draining)):
        return {"connection": "close"}
    return {}
