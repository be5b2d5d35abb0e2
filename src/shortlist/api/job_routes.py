"""Durable jobs over HTTP: submit, look, follow, fetch the result, cancel."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from starlette.datastructures import MutableHeaders
from starlette.routing import Match
from starlette.types import Message, Receive, Scope

from shortlist.api import path_rewriting
from shortlist.api.job_acceptance import ASYNC, RETRY_AFTER_S, description
from shortlist.api.json_body import read_json
from shortlist.api.request_state import state_of
from shortlist.api.routes import handle_task
from shortlist.errors import Gone, InvalidInput, NotFound, NotReady
from shortlist.jobs.job import Event, Job, JobStatus
from shortlist.jobs.job_service import JobService
from shortlist.schemas.fields import ItemLimit, validated
from shortlist.schemas.jobs import JobEvent, JobList, JobRequest

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

EVENT_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")

SSE_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Keep caches and buffers of proxies away. Source: nginx, `ngx_http_proxy_module`, `X-Accel-Buffering`."""


def _jobs(request: Request) -> JobService:
    jobs: JobService | None = request.app.state.jobs
    if jobs is None:
        raise NotFound("This server takes no jobs; start it with --jobs.")
    return jobs


Jobs = Annotated[JobService, Depends(_jobs)]


async def _job(job_id: str, request: Request, jobs: JobService) -> Job:
    """Return a job of the caller."""
    job = await jobs.store.read(job_id, state_of(request.scope).caller)
    if job is None:
        raise NotFound("There is no such job, or it is another caller's.")
    return job


@router.post("", response_class=Response, status_code=202)
async def submit(request: Request) -> Response:
    """Accept a request for a path of a task, and answer it later; the same as that path with `Prefer: respond-async`."""
    jobs = _jobs(request)
    asked = validated(JobRequest, await read_json(request), ItemLimit(1, "body"))
    if asked.webhook is not None:
        state_of(request.scope).webhook = str(jobs.webhook_targets.check(asked.webhook.url))
    return await handle_task(_task_request(request, asked))


@router.get("")
async def jobs_of_caller(request: Request, jobs: Jobs) -> Response:
    """List the caller's jobs: those that have not ended, then those that ended last; at most 100."""
    found = await jobs.store.list_jobs(state_of(request.scope).caller)
    body: JobList = {"object": "list", "data": [description(job) for job in found]}
    return Response(orjson.dumps(body), media_type="application/json")


@router.get("/{job_id}")
async def job_status(job_id: str, request: Request, jobs: Jobs) -> Response:
    """Say what the job is doing."""
    job = await _job(job_id, request, jobs)
    headers = {} if job.status.is_ended else {"retry-after": str(RETRY_AFTER_S)}
    return Response(orjson.dumps(description(job)), headers=headers, media_type="application/json")


@router.get("/{job_id}/result", response_class=Response)
async def job_result(job_id: str, request: Request, jobs: Jobs) -> Response:
    """Return the answer: status, headers and body are those of the path that was asked."""
    job = await _job(job_id, request, jobs)
    if not job.status.is_ended:
        raise NotReady(f"The job is {job.status}; ask again, or follow its events.", retry_after_s=RETRY_AFTER_S)
    result = await jobs.result(job) if job.status in {JobStatus.SUCCEEDED, JobStatus.FAILED} else None
    if result is None:
        kept = "was never to be kept" if not job.keeps_result else "has expired or was removed"
        raise Gone(f"The job is {job.status}; its result {kept}.")
    return Response(result.body, result.status, dict(result.headers))


@router.delete("/{job_id}")
async def cancel_job(job_id: str, request: Request, jobs: Jobs) -> Response:
    """Cancel the job, and remove its body, result and events."""
    job = await _job(job_id, request, jobs)
    await jobs.store.cancel(job.id, job.owner)
    now = await jobs.store.read(job.id, job.owner)
    return Response(orjson.dumps(description(now or job)), media_type="application/json")


@router.get("/{job_id}/events", response_class=StreamingResponse)
async def job_events(job_id: str, request: Request, jobs: Jobs) -> Response:
    """Follow the job by server-sent events, until it ends. `Last-Event-ID` goes on after an event, on any server."""
    job = await _job(job_id, request, jobs)
    after = request.headers.get("Last-Event-ID", "").strip()
    if after and not EVENT_ID.fullmatch(after):
        raise InvalidInput("The header Last-Event-ID must be the id of an event of this job.", param="Last-Event-ID")
    if after and await jobs.has_seen_all(job, after):
        return Response(status_code=204)  # a browser stops to connect again. Source: HTML, server-sent events, 9.2.3
    return StreamingResponse(_lines(jobs, job, after), media_type="text/event-stream", headers=SSE_HEADERS)


async def _lines(jobs: JobService, job: Job, after: str) -> AsyncIterator[bytes]:
    """Yield the events as lines, and a comment where there is none."""
    yield b": following\n\n"
    async for event in jobs.follow(job, after):
        yield b": waiting\n\n" if event is None else _event_lines(job, event)


def _event_lines(job: Job, event: Event) -> bytes:
    data: JobEvent = {"id": job.id, "status": event.status.value, "attempts": event.attempts}
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.status.encode(), orjson.dumps(data))


def _task_request(request: Request, asked: JobRequest) -> Request:
    """Return the request that the path of a task would have got, with `Prefer: respond-async`.

    Raises:
        InvalidInput: the path is not one of a task.
        UnknownModel, NotFound: the path names a model or a dialect that does not exist.
    """
    headers = MutableHeaders(scope=request.scope).mutablecopy()
    headers.append("Prefer", ASYNC)
    scope: Scope = {**request.scope, "path": asked.path, "headers": headers.raw, "root_path": ""}
    path_rewriting.rewrite(scope, request.app.state.model_names())
    for route in request.app.state.task_routes:
        match, found = route.matches(scope)
        if match is Match.FULL:
            scope.update(found, route=route)
            return Request(scope, _body(orjson.dumps(asked.body)))
    raise InvalidInput("path must be the path of a task, as /v1/rerank.", param="path")


def _body(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
