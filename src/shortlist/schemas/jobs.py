"""Jobs in HTTP."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

JobStatusName = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]


class JobWebhook(TypedDict):
    """The webhook of a job, and how far its delivery is."""

    url: str
    status: NotRequired[Literal["waiting", "delivered", "failed"]]
    attempts: NotRequired[int]
    reason: NotRequired[str]


class JobAnswer(TypedDict):
    """A job."""

    id: str
    object: Literal["job"]
    status: JobStatusName
    path: str
    created_at: float
    attempts: int
    webhook: NotRequired[JobWebhook]


class JobListAnswer(TypedDict):
    """Jobs of one owner."""

    object: Literal["list"]
    data: list[JobAnswer]
