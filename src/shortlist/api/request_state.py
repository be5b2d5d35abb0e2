"""The state of one HTTP request, which its middlewares and its handler share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from starlette.types import Scope

from shortlist.api.api_keys import Role
from shortlist.api.dialects.dialect import Dialect, RequestModel
from shortlist.api.memory_budget import Claim
from shortlist.errors import ServiceError

_KEY: Final = "shortlist.request"
"""Not `state`, which Starlette and the page's framework require to be a mapping."""


@dataclass(slots=True)
class RequestState:
    """What is known of a request so far.

    Attributes:
        request_id: The caller's request id, or a new one.
        caller: The caller id: the owner of its key, or its address. Limits, fairness, jobs and files are the caller's.
        role: The role of its key; `write` without one.
        root_path: The prefix that its path has at the reverse proxy.
        model: The model that its path names.
        webhook: Where to send the end of the job that it becomes.
        is_job: Whether a worker sent it for a job, whose owner is the caller.
        explicit_dialect: The dialect that its path names.
        dialect: Its dialect.
        request_model: The class of its body.
        num_items: The number of its documents or texts.
        outcome: The outcome of its task.
        error: The error that ended it.
        claim: The memory of its body and its answer, once the body is read.
    """

    request_id: str = ""
    caller: str = ""
    role: Role = Role.WRITE
    root_path: str = ""
    model: str | None = None
    webhook: str = ""
    is_job: bool = False
    explicit_dialect: str | None = None
    dialect: Dialect | None = None
    request_model: type[RequestModel] | None = None
    num_items: int | None = None
    outcome: object = None
    error: ServiceError | None = None
    claim: Claim | None = None


def state_of(scope: Scope) -> RequestState:
    """Return the state of the request with this scope."""
    if _KEY not in scope:
        scope[_KEY] = RequestState()
    return cast("RequestState", scope[_KEY])
