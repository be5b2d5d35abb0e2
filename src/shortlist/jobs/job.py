"""Jobs as values: what is accepted, what a record says, what a worker holds, what came out of it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

import orjson

from shortlist.jobs.transitions import RECORD_VERSION

MAX_AGE_S: Final = 24 * 3600.0
"""A job that has not ended this long after its acceptance expires."""

TTL_S: Final = 24 * 3600.0
"""How long a result is kept. The record without it is kept as long again."""


class JobStatus(StrEnum):
    """What a job is doing."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_ended(self) -> bool:
        """Whether the status is the last one."""
        return self not in {JobStatus.QUEUED, JobStatus.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A request to be accepted.

    Attributes:
        owner: Who may see and cancel it, and whose share of the engine it uses.
        path: The path to send it to, prefixes included.
        body: The body to send.
        headers: The headers to send besides; never keys.
        idempotency_key: The caller's name for the request.
        webhook: Where to send the end of the job; what it holds is up to the sender of webhooks.
        batch: The id of the batch that the job is a part of.
        keeps_result: Whether the answer is stored; a prefetch has no reader.
        max_age_s: The job expires if it has not ended by then.
        ttl_s: How long the result is kept.
        id: The id of the job.
    """

    owner: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str = ""
    webhook: str = ""
    batch: str = ""
    keeps_result: bool = True
    max_age_s: float = MAX_AGE_S
    ttl_s: float = TTL_S
    id: str = field(default_factory=lambda: f"job_{uuid.uuid4().hex}")

    @property
    def num_tokens(self) -> int:
        """An estimate, for autoscaling: the server counts exactly when it computes."""
        return 1 + len(self.body) // 4

    @property
    def digest(self) -> str:
        """Identifies the request among those with the same idempotency key."""
        headers = orjson.dumps(dict(self.headers), option=orjson.OPT_SORT_KEYS)
        return digest_of((self.path.encode(), headers, self.body, self.webhook.encode(), bytes([self.keeps_result])))

    def fields(self) -> list[str | bytes | int]:
        """Return fields and values of the record, besides those that `accept` sets. A new field needs a default in readers."""
        return [
            *("v", RECORD_VERSION, "owner", self.owner, "path", self.path, "headers", orjson.dumps(dict(self.headers))),
            *("webhook", self.webhook, "batch", self.batch, "keep", int(self.keeps_result), "tokens", self.num_tokens),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as its record says it is.

    Attributes:
        id: Its id.
        status: Its status. A job whose result is gone has expired.
        owner: Who may see and cancel it.
        path: The path that it is sent to.
        created_ms: When it was accepted, by Redis' clock; unit: milliseconds since 1970.
        finished_ms: When it ended; 0 before.
        attempts: How often a worker has taken it.
        failures: What its failed attempts have cost of `transitions.MAX_FAILURES`.
        headers: The headers that it is sent with.
        webhook: As in `NewJob`.
        batch: As in `NewJob`.
        keeps_result: As in `NewJob`.
        http_status: The status of its result; 0 without one.
        http_headers: The headers of its result.
    """

    id: str
    status: JobStatus
    owner: str
    path: str
    created_ms: int
    finished_ms: int
    attempts: int
    failures: int
    headers: Mapping[str, str]
    webhook: str
    batch: str
    keeps_result: bool
    http_status: int
    http_headers: Mapping[str, str]


class Accepted(NamedTuple):
    """An accepted job.

    Attributes:
        job_id: Its id.
        is_new: Whether it was accepted now; the same request with the same idempotency key finds the job of the first one.
        created_ms: When it was accepted, if that was now.
        must_ring: Whether the doorbell has to ring.
    """

    job_id: str
    is_new: bool
    created_ms: int
    must_ring: bool


class Lease(NamedTuple):
    """A job in the hands of a worker.

    Attributes:
        job: The job.
        token: Proves that the worker holds it.
        body: The body to send.
        must_ring: Whether more jobs are due, and the doorbell has to ring for another worker.
    """

    job: Job
    token: str
    body: bytes
    must_ring: bool


class Result(NamedTuple):
    """The answer to a job: status, headers and body of HTTP, as the server sent them."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Event(NamedTuple):
    """One change of a job.

    Attributes:
        id: Its place in the stream of the job, as Redis names it.
        status: The status after it.
        attempts: How often a worker has taken the job.
    """

    id: str
    status: JobStatus
    attempts: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found.

    Attributes:
        must_ring: Whether jobs are due, and the doorbell has to ring.
        num_waiting: Queued jobs.
        num_waiting_tokens: Their tokens, estimated.
        oldest_s: Seconds for which the first of them could have been taken.
        num_running: Jobs that workers hold.
        counts: Totals of all servers since Redis has the data: accepted, attempts, leases_expired, and one per last status.
    """

    must_ring: bool
    num_waiting: int
    num_waiting_tokens: int
    oldest_s: float
    num_running: int
    counts: Mapping[str, int]


def digest_of(parts: Iterable[bytes]) -> str:
    """Return a digest of parts, with their lengths: no two lists of parts have the same one."""
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()
