"""The table of errors: status, type and code of every error, from which the server, OpenAPI and the client derive theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from typing_extensions import TypedDict

from shortlist.errors import (
    BodyTooSlow,
    DeadlineExceeded,
    Draining,
    EmptyInput,
    EngineError,
    EngineOutOfMemory,
    EngineUnavailable,
    FilesUnavailable,
    Forbidden,
    Gone,
    IdempotencyConflict,
    InputTooLong,
    InvalidInput,
    JobsUnavailable,
    MethodNotAllowed,
    Misdirected,
    NotFound,
    NotReady,
    Overloaded,
    RequestTooLarge,
    ServiceError,
    Unauthenticated,
    UnknownModel,
    UnsupportedMedia,
    UpstreamBusy,
    UpstreamError,
    WrongModel,
)


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """An error in HTTP.

    Attributes:
        status: HTTP status.
        type: OpenAI's error type.
        code: Shortlist's error code.
        meaning: One sentence, for the documentation.
    """

    status: int
    type: str
    code: str
    meaning: str


_REQUEST: Final = "invalid_request_error"
_SERVER: Final = "server_error"

ERRORS: Final[dict[type[ServiceError], ErrorKind]] = {
    InvalidInput: ErrorKind(400, _REQUEST, "invalid_input", "A field is missing, invalid or out of range; `param` names it."),
    EmptyInput: ErrorKind(400, _REQUEST, "empty_input", "A list of texts is empty."),
    WrongModel: ErrorKind(400, _REQUEST, "wrong_model", "The model does not support this task."),
    InputTooLong: ErrorKind(400, _REQUEST, "context_length_exceeded", "A text is too long, and must not be truncated."),
    Unauthenticated: ErrorKind(401, "authentication_error", "invalid_api_key", "The API key is missing or wrong."),
    Forbidden: ErrorKind(
        403, "permission_error", "forbidden", "The key's role does not allow it, or another site's page sent it."
    ),
    NotFound: ErrorKind(404, _REQUEST, "not_found", "There is no such path, or the server does not offer this."),
    UnknownModel: ErrorKind(404, _REQUEST, "model_not_found", "No such model is served."),
    MethodNotAllowed: ErrorKind(405, _REQUEST, "invalid_input", "The path has another method; see `Allow`."),
    BodyTooSlow: ErrorKind(408, _REQUEST, "request_timeout", "The body did not arrive in time."),
    NotReady: ErrorKind(409, _REQUEST, "not_ready", "The job has no result yet; see `Retry-After`."),
    Gone: ErrorKind(410, _REQUEST, "gone", "The result of the job has expired or was removed."),
    RequestTooLarge: ErrorKind(413, _REQUEST, "request_too_large", "The request is too large, whatever the load."),
    UnsupportedMedia: ErrorKind(415, _REQUEST, "unsupported_media_type", "The body is not JSON, or is compressed."),
    Misdirected: ErrorKind(421, _REQUEST, "misdirected", "The server does not answer to this host name."),
    IdempotencyConflict: ErrorKind(422, _REQUEST, "idempotency_conflict", "The idempotency key belongs to another request."),
    Overloaded: ErrorKind(429, "rate_limit_error", "rate_limit_exceeded", "The server is busy; see `Retry-After`."),
    EngineError: ErrorKind(500, _SERVER, "engine_error", "The model failed on this input."),
    EngineOutOfMemory: ErrorKind(500, _SERVER, "out_of_memory", "The input did not fit into the memory."),
    UpstreamError: ErrorKind(502, _SERVER, "upstream_error", "An upstream engine failed."),
    EngineUnavailable: ErrorKind(503, _SERVER, "engine_unavailable", "The engine has failed."),
    Draining: ErrorKind(503, _SERVER, "unavailable", "The server is starting or stopping."),
    JobsUnavailable: ErrorKind(503, _SERVER, "jobs_unavailable", "Jobs are not accepted now; see `Retry-After`."),
    FilesUnavailable: ErrorKind(503, _SERVER, "files_unavailable", "Files cannot be stored or read now; see `Retry-After`."),
    UpstreamBusy: ErrorKind(503, _SERVER, "upstream_busy", "No upstream engine accepts work now; see `Retry-After`."),
    DeadlineExceeded: ErrorKind(504, _SERVER, "deadline_exceeded", "The deadline passed."),
}

UNKNOWN_ERROR: Final = ErrorKind(500, _SERVER, "internal_error", "The server failed.")


def kind_of(error: type[ServiceError]) -> ErrorKind:
    """Return the kind of an error class, or of the base class that the table has."""
    return next((ERRORS[cls] for cls in error.__mro__ if cls in ERRORS), UNKNOWN_ERROR)


class ErrorDetail(TypedDict):
    """OpenAI's error; `param` is the offending field."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(TypedDict):
    """An error that nearly all clients can parse: `error` is OpenAI's, `message` Cohere's, `detail` Voyage's and Jina's."""

    error: ErrorDetail
    message: str
    detail: str
    request_id: str
