"""On what terms a request is served, as its headers say it: who asks, how urgently, until when.

Headers, because every client can send them, whatever dialect it speaks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from starlette.requests import Request

from shortlist.errors import InvalidInput
from shortlist.types import EmbedTask, Priority, RerankTask

TIMEOUT_HEADER: Final = "X-Request-Timeout-Ms"
PRIORITY_HEADER: Final = "X-Request-Priority"

MAX_TIMEOUT_DIGITS: Final = 12

Asked = TypeVar("Asked", RerankTask, EmbedTask)


def on_terms(task: Asked, request: Request) -> Asked:
    """Return the task with the terms that its request states besides; of two timeouts the shorter one counts.

    Raises:
        InvalidInput: a header says nothing that can be read.
    """
    timeouts = [seconds for seconds in (task.terms.timeout_s, _timeout_s(request)) if seconds is not None]
    caller: str = request.scope.get("caller", "")
    terms = replace(task.terms, caller=caller, priority=_priority(request), timeout_s=min(timeouts, default=None))
    return replace(task, terms=terms)


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
