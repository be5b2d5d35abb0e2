"""Request options from headers: caller, priority, deadline."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from starlette.requests import Request

from shortlist.api.request_state import state_of
from shortlist.errors import InvalidInput
from shortlist.types import DetokenizeTask, EmbedTask, Priority, RerankTask, ScoreTask, TokenizeTask

TIMEOUT_HEADER: Final = "X-Request-Timeout-Ms"
PRIORITY_HEADER: Final = "X-Request-Priority"

MAX_TIMEOUT_DIGITS: Final = 12

AnyTask = TypeVar("AnyTask", RerankTask, ScoreTask, EmbedTask, TokenizeTask, DetokenizeTask)
InstructedTask = TypeVar("InstructedTask", RerankTask, ScoreTask, EmbedTask)


def apply_headers(task: AnyTask, request: Request) -> AnyTask:
    """Return the task with the options of its request headers, and the model of the path. The shorter of two timeouts applies.

    Raises:
        InvalidInput: a header has an invalid value.
    """
    timeouts = [seconds for seconds in (task.options.timeout_s, _timeout_s(request)) if seconds is not None]
    state = state_of(request.scope)
    options = replace(task.options, caller=state.caller, priority=_priority(request), timeout_s=min(timeouts, default=None))
    return replace(task, options=options, model=state.model or task.model)


def with_instruction(task: InstructedTask, instruction: str | None) -> InstructedTask:
    """Return the task with the instruction of the dialect, if it has none of its own."""
    return replace(task, instruction=task.instruction or instruction or None)


def _timeout_s(request: Request) -> float | None:
    text = request.headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_TIMEOUT_DIGITS and int(text)):
        raise InvalidInput(f"The header {TIMEOUT_HEADER} must be a whole number of milliseconds above 0.", param=TIMEOUT_HEADER)
    return int(text) / 1000


def _priority(request: Request) -> Priority:
    text = request.headers.get(PRIORITY_HEADER, Priority.INTERACTIVE)
    try:
        return Priority(text.strip().lower())
    except ValueError:
        known = " or ".join(Priority)
        raise InvalidInput(f"The header {PRIORITY_HEADER} must be {known}.", param=PRIORITY_HEADER) from None
