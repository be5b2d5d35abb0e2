"""Records the spans of each request for a trace collector. Off unless a collector is set.

A context variable holds the current request's trace. When tracing is off, a null object ignores all spans. `otlp` exports
spans.
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
        """Record the block as one span."""
        ...

    def add_span(self, name: str, started_s: float, ended_s: float) -> None:
        """Record a finished span. Units: readings of `time.monotonic`."""
        ...

    def end(self, name: str, attributes: Mapping[str, Attribute], *, has_failed: bool) -> None:
        """Name the request's span and end it."""
        ...


class Tracing(Protocol):
    """Begins traces and exports ended ones. Must not fail or delay a request."""

    @property
    def is_on(self) -> bool:
        """Whether traces are collected."""
        ...

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        """Return the trace of a request with these lower-case headers. It continues the client's trace if they name one."""
        ...

    def close(self) -> None:
        """Export queued spans for a short, bounded time. Idempotent."""
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
    """Record all spans of the block in this request's trace."""
    return _NOTHING if trace is NO_TRACE else _use_trace(trace)


@contextmanager
def _use_trace(trace: Trace) -> Iterator[None]:
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def span(name: str) -> AbstractContextManager[None]:
    """Record the block as one span of the current request."""
    return _current.get().span(name)


def add_span(name: str, started_s: float, ended_s: float | None = None) -> None:
    """Record a finished span of the current request; `ended_s` defaults to now. Units: readings of `time.monotonic`."""
    trace = _current.get()
    if trace is not NO_TRACE:
        trace.add_span(name, started_s, time.monotonic() if ended_s is None else ended_s)
