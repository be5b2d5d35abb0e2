"""Errors of a failed call: the error that the server raised, and whether to retry.

The inverse of `schemas.errors`. It neither sends nor sleeps.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx2
import orjson

from shortlist.errors import (
    CallerError,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidInput,
    MethodNotAllowed,
    Overloaded,
    ServiceError,
    Unauthenticated,
    UpstreamError,
)
from shortlist.schemas.errors import ERRORS

RETRYABLE = frozenset({httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE})
FIRST_PAUSE_S = 0.25
RETRY_AFTER_DEFAULT_S = 1.0
MAX_MESSAGE_CHARS = 1000

_BY_CODE: Final = {kind.code: error for error, kind in reversed(ERRORS.items())}

_BY_STATUS: Final = {
    **{kind.status: error for error, kind in reversed(ERRORS.items())},
    403: Unauthenticated,  # 403 and 422 come from proxies
    422: InvalidInput,
}


def read_error(response: httpx2.Response) -> ServiceError:
    """Return the error of a response other than 200, with the server's request id as a note."""
    error = _error_for(response, _error_body(response))
    request_id = response.headers.get("x-request-id")
    if request_id:
        error.add_note(f"request id: {request_id}")
    return error


def connection_error(error: httpx2.RequestError, url: str) -> ServiceError:
    """Return the error of a call without a response; it names the address."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return EngineUnavailable(f"No server answers at {url}. Check that it is running and that the address is right.")
    if isinstance(error, httpx2.TimeoutException):
        return DeadlineExceeded(f"The server at {url} did not answer in time.")
    return EngineUnavailable(f"The connection to {url} closed before the response was complete.")


def retry_after_s(headers: httpx2.Headers, *, now: dt.datetime) -> float | None:
    """Return the seconds of the `Retry-After` header, or None without one.

    Source: RFC 9110, section 10.2.3: seconds, or an HTTP date.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, (moment - now).total_seconds())


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retry policy of one call. Reads no clock.

    Attributes:
        max_retries: Maximum number of retries; 0 disables them.
        max_pause_s: Maximum wait before one retry in seconds. A longer `Retry-After` ends the retries: an earlier
            retry would be refused as well.
    """

    max_retries: int = 2
    max_pause_s: float = 10.0

    def pause_s(self, response: httpx2.Response, *, num_sent: int, remaining_s: float, now: dt.datetime) -> float | None:
        """Return the seconds to wait before the next retry, or None to not retry.

        Only 429 and 503 are retried. Ranking changes nothing on the server, so a retry is safe. For other statuses a retry
        would give the same answer.
        """
        if response.status_code not in RETRYABLE or num_sent > self.max_retries:
            return None
        retry_after = retry_after_s(response.headers, now=now)
        pause_s = _backoff_s(num_sent) if retry_after is None else retry_after
        return pause_s if pause_s <= self.max_pause_s and pause_s < remaining_s else None

    def resend_pause_s(self, *, num_sent: int, remaining_s: float) -> float | None:
        """Return the seconds to wait before a repeatable call is sent again after its connection broke; None to not send it."""
        if num_sent > self.max_retries:
            return None
        pause_s = _backoff_s(num_sent)
        return pause_s if pause_s < remaining_s else None


def _backoff_s(num_sent: int) -> float:
    """Return an exponential backoff with jitter, so that clients refused together do not retry together."""
    longest_s = FIRST_PAUSE_S * 2.0 ** (num_sent - 1)
    return random.uniform(longest_s / 2, longest_s)  # noqa: S311 - no secret depends on it


def _error_for(response: httpx2.Response, body: _ErrorBody) -> ServiceError:
    status, message = response.status_code, body.message
    cls: type[ServiceError] = _BY_CODE.get(body.kind or "") or _BY_STATUS.get(status, UpstreamError)
    if issubclass(cls, MethodNotAllowed):
        return cls(message, allow=response.headers.get("allow", ""))
    if issubclass(cls, CallerError):
        return cls(message, param=body.param)
    if issubclass(cls, Overloaded):
        wait_s = retry_after_s(response.headers, now=dt.datetime.now(dt.UTC))
        return cls(message, retry_after_s=RETRY_AFTER_DEFAULT_S if wait_s is None else wait_s)
    if issubclass(cls, UpstreamError):
        return cls(message, is_retryable=status >= httpx2.codes.INTERNAL_SERVER_ERROR)
    return cls(message)


@dataclass(frozen=True, slots=True)
class _ErrorBody:
    """The content of an error body: message, field and kind."""

    message: str
    param: str | None
    kind: str | None


def _error_body(response: httpx2.Response) -> _ErrorBody:
    outer = _object(_parsed(response.content))
    inner = _object(outer.get("error"))
    fallback = f"The server answered {response.status_code} without a message."
    message = _first_text(inner.get("message"), outer.get("message"), outer.get("detail"), outer.get("error"), fallback)
    return _ErrorBody(
        message=(message or fallback)[:MAX_MESSAGE_CHARS],
        param=_first_text(inner.get("param")),
        kind=_first_text(inner.get("code"), inner.get("type")),
    )


def _first_text(*values: object) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
