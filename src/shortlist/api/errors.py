"""Errors to responses: the table of errors gives status and code, the dialect the body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from shortlist.api.dialects.dialect import Dialect, ErrorInfo, RequestModel, common_error_body
from shortlist.errors import (
    BodyTooLarge,
    BodyTooSlow,
    CallerError,
    Draining,
    MethodNotAllowed,
    NotReady,
    Overloaded,
    ServiceError,
    Unauthenticated,
)
from shortlist.schemas.errors import kind_of

RETRY_UNAVAILABLE_S = 1
"""`Retry-After` while the server starts, stops or has no engine."""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def answer(
    error: ServiceError,
    *,
    request_id: str,
    dialect: Dialect | None = None,
    request_model: type[RequestModel] | None = None,
) -> ErrorAnswer:
    """Return the response to this error, in the caller's dialect and with the names of its fields, if they are known."""
    kind = kind_of(type(error))
    message, param = error.message, error.param if isinstance(error, CallerError) else None
    if request_model is not None and param is not None and (own := request_model.own_name(param)) != param:
        message, param = message.replace(param, own), own
    fault = ErrorInfo(
        status=kind.status,
        type=kind.type,
        code=kind.code,
        message=message,
        param=param,
        request_id=request_id,
    )
    status, body = dialect.error_body(fault) if dialect else common_error_body(fault)
    return ErrorAnswer(status, _headers(error, kind.status), orjson.dumps(body))


def _headers(error: ServiceError, status: int) -> dict[str, str]:
    if isinstance(error, (Overloaded, NotReady)):
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
