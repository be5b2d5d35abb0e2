"""Traces of requests: spans for the stages of one request. Off unless a collector is configured.

A context variable holds the trace of the current request. Without tracing, a null object drops the spans. `otlp` exports them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final, Protocol

Attribute = str | int | float
"""A span attribute: a name, a count, a size or a time; never input text."""


class Trace(Protocol):
    """The spans of one request."""

    def span(self, name: str) -> AbstractContextManager[None]:
        """Record the block as a span."""
        ...

    def add_span(self, name: str, started_s: float, ended_s: float) -> None:
        """Record a finished span. Units: seconds on `time.monotonic`."""
        ...

    def end(self, name: str, attributes: Mapping[str, Attribute], *, has_failed: bool) -> None:
        """End the trace with the request's name and attributes."""
        ...


class Tracing(Protocol):
    """Begins traces and exports ended ones. It never fails or delays a request."""

    @property
    def is_on(self) -> bool:
        """Whether traces are exported."""
        ...

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        """Return the trace of a request with these lower-case headers; it continues the caller's trace if they name one."""
        ...

    def close(self) -> None:
        """Export remaining spans within a short time limit. Idempotent."""
        ...


class _NoTrace:
    def span(self, name: str) -> AbstractContextManager[None]:
        del name
        return _NOTHING

    def add_span(self, name: str, started_s: float, ended_s: float) -> None:
        del name, started_s, ended_s

    def end(self, name: str, attributes: Mapping[str, Attribute], *, has_failed: bool) -> None:
        del name, attributes, has_failed


class _NoTracing:
    is_on = False

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        del headers
        return NO_TRACE

    def close(self) -> None:
        pass


_NOTHING: Final = nullcontext()
NO_TRACE: Final[Trace] = _NoTrace()
NO_TRACING: Final[Tracing] = _NoTracing()

_current: ContextVar[Trace] = ContextVar("trace", default=NO_TRACE)


def use_trace(trace: Trace) -> AbstractContextManager[None]:
    """Make this the current trace inside the block."""
    return _NOTHING if trace is NO_TRACE else _use_trace(trace)


@contextmanager
def _use_trace(trace: Trace) -> Iterator[None]:
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def span(name: str) -> AbstractContextManager[None]:
    """Record the block as a span of the current request."""
    return _current.get().span(name)


def add_span(name: str, started_s: float, ended_s: float | None = None) -> None:
    """Record a span of the current request; it ends now if `ended_s` is None. Units: seconds on `time.monotonic`."""
    trace = _current.get()
    if trace is not NO_TRACE:
        trace.add_span(name, started_s, time.monotonic() if ended_s is None else ended_s)
