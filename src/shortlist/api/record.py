"""The record of a finished request, from its ASGI scope: for metrics, logs and traces.

Names, counts and times; never a text. See `RequestState`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from starlette.types import Scope

from shortlist.api.request_state import RequestState, state_of
from shortlist.api.task_handlers import handler_of
from shortlist.errors import Draining, Overloaded, ServiceError
from shortlist.telemetry.metrics import DRAINING
from shortlist.types import Timing, Usage

NO_ROUTE: Final = "other"
"""Route label of unknown paths."""


class Record(NamedTuple):
    """One finished request.

    Attributes:
        route: Route template.
        dialect: Dialect name; empty if unknown, like the following.
        task: Task name.
        model: Served model name.
        refusal: The limit that refused it.
        error: Error class.
    """

    route: str
    dialect: str
    task: str
    model: str
    refusal: str
    error: str

    @classmethod
    def of(cls, scope: Scope) -> Record:
        """Return the record of a scope."""
        state = state_of(scope)
        return cls(
            route=getattr(scope.get("route"), "path", NO_ROUTE),
            dialect=state.dialect.name if state.dialect else "",
            task=handler_of(state.request_model).name if state.request_model else "",
            model=getattr(state.outcome, "model", ""),
            refusal=_refusal(state.error),
            error=type(state.error).__name__ if state.error else "",
        )

    def fields(self, scope: Scope) -> dict[str, str | int | float]:
        """Return all fields, for a log line or a span. Units: milliseconds in names that end in `_ms`."""
        return {name: value for name, value in self._asdict().items() if value} | dict(_counts(state_of(scope)))


def _counts(state: RequestState) -> Iterator[tuple[str, int | float]]:
    if state.num_items is not None:
        yield "items", state.num_items
    outcome = state.outcome
    usage: Usage | None = getattr(outcome, "usage", None)
    timing: Timing | None = getattr(outcome, "timing", None)
    if usage is not None:
        yield "tokens", usage.num_tokens
        yield "cached", usage.num_cached
    for name in ("truncated", "failed"):
        if found := getattr(outcome, name, ()):
            yield name, len(found)
    if timing is not None:
        yield "tokenize_ms", _ms(timing.tokenize_s)
        yield "queue_ms", _ms(timing.queue_s)
        yield "compute_ms", _ms(timing.compute_s)


def _refusal(error: ServiceError | None) -> str:
    if isinstance(error, Overloaded) and error.shortage is not None:
        return error.shortage.value
    return DRAINING if isinstance(error, Draining) else ""


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
