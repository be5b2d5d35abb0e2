"""Every error that Shortlist raises on purpose, split by cause.

    ServiceError
      CallerError            the request is invalid; an unchanged retry fails again
        InvalidInput
          EmptyInput         a list of texts is empty
          TooManyItems       carries num_items
          WrongModel         the model is served, but does not support the task
        InputTooLong
        RequestTooLarge
          BodyTooLarge
        BodyTooSlow
        UnsupportedMedia
        Unauthenticated
        Forbidden
        Misdirected
        NotFound
          UnknownModel
        MethodNotAllowed     carries allow
        NotReady             carries retry_after_s
        Gone
        IdempotencyConflict
      CapacityError          the request is valid; the server cannot accept it now
        Overloaded           carries retry_after_s
        DeadlineExceeded
        Draining
        JobsUnavailable
        FilesUnavailable
      EngineError            the model's side failed
        EngineUnavailable    the engine has failed; requests fail until it restarts
        EngineOutOfMemory    this batch did not fit; a smaller one may
        BadScore             the engine returned something that is not a finite number
        UpstreamError        carries is_retryable
          UpstreamBusy       no upstream engine accepts work now
      SetupError             the server cannot start as configured
        BadSetting
        ModelRefused

Messages are written for the person who can act on them and never contain a caller's text. `api.errors`
maps them to HTTP statuses.
"""

from enum import StrEnum


class ServiceError(Exception):
    """Base class of all errors.

    Args:
        message: One sentence for the person who can act on it; never contains input text.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CallerError(ServiceError):
    """The request is invalid.

    Args:
        message: What is wrong and what would be right.
        param: The offending field under the caller's name for it (`documents[3]`), or None when no single field is to blame.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidInput(CallerError):
    """A field is missing, of the wrong type or out of range."""


class EmptyInput(InvalidInput):
    """A list of texts is empty."""


class TooManyItems(InvalidInput):
    """A list has more documents or texts than a request may have.

    Args:
        message: What is wrong.
        param: The field of the list.
        num_items: Its length.
    """

    def __init__(self, message: str, *, param: str | None = None, num_items: int = 0) -> None:
        super().__init__(message, param=param)
        self.num_items = num_items


class WrongModel(InvalidInput):
    """The model is served, but does not support the task."""


class InputTooLong(CallerError):
    """A text exceeds the model's token limit, and truncation is not allowed or does not help."""


class RequestTooLarge(CallerError):
    """The request costs more than the server ever accepts; its message names the limit and the cost."""


class BodyTooLarge(RequestTooLarge):
    """The request body exceeds the size limit."""


class BodyTooSlow(CallerError):
    """The request body did not arrive in time."""


class UnsupportedMedia(CallerError):
    """The request body is not JSON, or is compressed."""


class Forbidden(CallerError):
    """The role of the API key does not allow the request, or the request comes from a page of another site."""


class Misdirected(CallerError):
    """The request is for another host."""


class Unauthenticated(CallerError):
    """The API key is missing or invalid."""


class NotFound(CallerError):
    """No model or path of that name is served."""


class UnknownModel(NotFound):
    """No model has that name, or none supports the task."""


class MethodNotAllowed(CallerError):
    """The path exists, but not for this method.

    Args:
        message: What is wrong.
        allow: The allowed methods, as in the `Allow` header.
    """

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class NotReady(CallerError):
    """The job has no result yet.

    Args:
        message: What is missing.
        retry_after_s: Seconds after which to ask again.
    """

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Gone(CallerError):
    """The job's result has expired, was removed, or was never to be kept."""


class IdempotencyConflict(CallerError):
    """The idempotency key belongs to another request."""


class CapacityError(ServiceError):
    """The request is valid, but the server cannot accept it now."""


class Shortage(StrEnum):
    """The limit that a refused request reached; the values are metric labels."""

    REQUESTS = "too_many_requests"
    TOKENS = "queue_full"
    BYTES = "memory"
    TIME = "wait"
    CALLER_RATE = "caller_rate"
    CALLER_REQUESTS = "caller_requests"


class Overloaded(CapacityError):
    """The queue is full, or the predicted delay exceeds the limit.

    Args:
        message: What is full.
        retry_after_s: Seconds until capacity is expected, from the measured throughput.
        shortage: The limit that was reached; None if the server did not report it.
    """

    def __init__(self, message: str, *, retry_after_s: float, shortage: Shortage | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.shortage = shortage


class DeadlineExceeded(CapacityError):
    """The client's deadline passed before the request completed."""


class Draining(CapacityError):
    """The server is starting or stopping and accepts no new requests."""


class JobsUnavailable(CapacityError):
    """The Redis of durable jobs does not answer, or is full. Whether the job was accepted may be unknown."""


class FilesUnavailable(CapacityError):
    """The store of files cannot be reached, or is full."""


class EngineError(ServiceError):
    """The engine failed. A bare EngineError concerns the batch: parts of it may still succeed."""


class EngineUnavailable(EngineError):
    """The engine has failed. All waiting and all new requests get this error."""


class EngineOutOfMemory(EngineError):
    """The batch did not fit in the device's memory; a smaller one may."""


class BadScore(EngineError):
    """The engine returned a value that is not a finite number."""


class UpstreamError(EngineError):
    """An upstream engine returned an invalid response or none.

    Args:
        message: What happened.
        is_retryable: Whether another attempt, or another upstream, may succeed.
    """

    def __init__(self, message: str, *, is_retryable: bool) -> None:
        super().__init__(message)
        self.is_retryable = is_retryable


class UpstreamBusy(UpstreamError):
    """No upstream engine accepts work now: all are busy or unhealthy."""


class SetupError(ServiceError):
    """The server cannot start. The message names the setting, file or model."""


class BadSetting(SetupError):
    """A setting is unknown, unparsable, or contradicts another."""


class ModelRefused(SetupError):
    """A model cannot be served, or its task must be set explicitly."""
