"""Accepts a validated task request as a durable job, if its client prefers an answer later.

Source: RFC 7240, Prefer Header for HTTP; the Idempotency-Key HTTP Header Field (IETF draft).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from shortlist.api.dialects.pinecone import VERSION_HEADER
from shortlist.api.path_rewriting import MODEL_PREFIX
from shortlist.api.proxy_headers import without_prefix
from shortlist.api.request_state import state_of
from shortlist.errors import InvalidInput
from shortlist.jobs.job import Job, NewJob
from shortlist.jobs.job_service import JobService
from shortlist.schemas.jobs import JobDescription

DIALECT_HEADER: Final = "X-Rerank-Dialect"
"""Names a dialect where a client cannot set a path prefix."""

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

ASYNC: Final = "respond-async"
MINIMAL: Final = "return=minimal"

RETRY_AFTER_S: Final = 1
"""`Retry-After` of a job that has not ended."""

JOB_PATH: Final = "/v1/jobs/"


def preferences(values: Iterable[str]) -> frozenset[str]:
    """Return the preferences of `Prefer` headers, in lower case and without parameters and quotes."""
    parts = (part.partition(";")[0] for value in values for part in value.split(","))
    return frozenset(re.sub(r'[\s"]', "", part).lower() for part in parts)


def job_preferences(request: Request) -> frozenset[str] | None:
    """Return the preferences of a request that is to be a job, or None if it is to be answered now."""
    found = preferences(request.headers.getlist("Prefer")) if "Prefer" in request.headers else frozenset()
    return found if ASYNC in found else None


async def accept(jobs: JobService, request: Request, preferred: frozenset[str]) -> Response:
    """Accept a validated request as a job, and answer 202. With `return=minimal`, no result is kept: the caches are warm.

    Raises:
        InvalidInput: the idempotency key is not one.
        IdempotencyConflict, JobsUnavailable: see `JobService.submit`.
    """
    job = await jobs.submit(await _new_job(jobs, request, preferred))
    applied = ", ".join(each for each in (ASYNC, MINIMAL) if each in preferred)
    headers = {
        "location": f"{state_of(request.scope).root_path}{JOB_PATH}{job.id}",
        "retry-after": str(RETRY_AFTER_S),
        "preference-applied": applied,
    }
    return Response(orjson.dumps(description(job)), 202, headers, media_type="application/json")


def description(job: Job) -> JobDescription:
    """Return what a client learns of a job."""
    body: JobDescription = {
        "id": job.id,
        "object": "job",
        "status": job.status.value,
        "path": job.path,
        "created_at": job.created_ms // 1000,
        "attempts": job.attempts,
    }
    if job.finished_ms:
        body["finished_at"] = job.finished_ms // 1000
    return body


async def _new_job(jobs: JobService, request: Request, preferred: frozenset[str]) -> NewJob:
    state = state_of(request.scope)
    path = without_prefix(request.scope["path"], state.root_path)
    dialect = state.explicit_dialect or request.headers.get(DIALECT_HEADER)
    headers = {DIALECT_HEADER.lower(): dialect} if dialect else {}
    version = VERSION_HEADER.decode()
    if version in request.headers:
        headers[version] = request.headers[version]
    return NewJob(
        owner=state.caller,
        path=quote(f"{MODEL_PREFIX}{state.model}{path}" if state.model else path),
        body=await request.body(),
        headers=headers,
        idempotency_key=_idempotency_key(request),
        webhook=state.webhook,
        keeps_result=MINIMAL not in preferred,
        ttl_s=jobs.ttl_s,
    )


def _idempotency_key(request: Request) -> str:
    key = request.headers.get(IDEMPOTENCY_HEADER, "")
    if key and not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidInput(
            f"The header {IDEMPOTENCY_HEADER} must be at most 255 characters of ASCII, without spaces.",
            param=IDEMPOTENCY_HEADER,
        )
    return key
