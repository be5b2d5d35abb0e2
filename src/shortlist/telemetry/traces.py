"""Where one request's time went, step by step, for whoever collects traces: off unless a collector is named.

A step is noted against the request that is being handled, which is found by its context; nobody has to carry it along. When
tracing is off, a null object takes what is noted. How spans look outside is known to `otlp`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final, Protocol

Attribute = str | int | float
"""What a span may carry: a name, a count, a size or a time; never a text."""


class Trace(Protocol):
    """One request's steps, until it is ended."""

    def span(self, name: str) -> AbstractContextManager[None]:
        """Note what is done inside as one step."""
        ...

    def add_span(self, name: str, started_s: float, ended_s: float) -> None:
        """Note a step that is over. Units: readings of `time.monotonic`."""
        ...

    def end(self, name: str, attributes: Mapping[str, Attribute], *, has_failed: bool) -> None:
        """Say what the request was, and that it is over."""
        ...


class Tracing(Protocol):
    """Begins traces, and sends away what was ended. Nothing here may fail a request, or hold it up."""

    @property
    def is_on(self) -> bool:
        """Whether anybody collects them."""
        ...

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        """Return the trace of a request with these headers, lower-case: the caller's own trace goes on if it names one."""
        ...

    def close(self) -> None:
        """Send what is left if that takes no more than a moment. Calling it twice is harmless."""
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
    """Have every step inside noted against this request."""
    return _NOTHING if trace is NO_TRACE else _use_trace(trace)


@contextmanager
def _use_trace(trace: Trace) -> Iterator[None]:
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def span(name: str) -> AbstractContextManager[None]:
    """Note what is done inside as one step of the request that is being handled."""
    return _current.get().span(name)


def add_span(name: str, started_s: float, ended_s: float | None = None) -> None:
    """Note a step of the request that is being handled, which ended now or then. Units: readings of `time.monotonic`."""
    trace = _current.get()
    if trace is not NO_TRACE:
        trace.add_span(name, started_s, time.monotonic() if ended_s is None else ended_s)
