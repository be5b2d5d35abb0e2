"""Bodies of `/v1/jobs`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from shortlist.schemas.fields import RequestFields

Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]


class JobRequest(RequestFields):
    """A request to be answered later: what would be sent to a path of the server."""

    path: str = Field(description="A path of a task, as /v1/rerank.")
    body: dict[str, Any] = Field(description="The body for that path.")
    webhook: dict[str, Any] | None = Field(default=None, description="Where to send the end of the job.")


class JobDescription(TypedDict):
    """A job. Times are in seconds since 1970."""

    id: str
    object: Literal["job"]
    status: Status
    path: str
    created_at: int
    attempts: int
    finished_at: NotRequired[int]


class JobList(TypedDict):
    """Jobs of one caller: those that have not ended, then those that ended last."""

    object: Literal["list"]
    data: list[JobDescription]


class JobEvent(TypedDict):
    """The data of one server-sent event."""

    id: str
    status: Status
    attempts: int
