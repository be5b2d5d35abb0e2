"""OpenAI's `/v1/batches`, and the steps of batches, which workers ask for."""

from __future__ import annotations

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from shortlist.api import in_process
from shortlist.api.dialects import table
from shortlist.api.file_routes import Batches, batch_service
from shortlist.api.json_body import read_json
from shortlist.api.request_state import state_of
from shortlist.batches.batch import STEP_PATH, BatchRecord, Step
from shortlist.batches.steps import Ask, LineAnswer
from shortlist.errors import InvalidInput, NotFound
from shortlist.jobs.job_worker import LEASE_HEADER
from shortlist.schemas.fields import ItemLimit, validated
from shortlist.schemas.openai_batches import BatchAnswer, BatchList, BatchRequest

router = APIRouter(tags=["batches"])

MAX_PAGE: Final = 100
DEFAULT_PAGE: Final = 20
"""Source: OpenAI, GET /v1/batches, `limit`."""

FORWARDED: Final = frozenset({b"authorization", b"x-api-key", b"api-key", LEASE_HEADER.encode()})
"""Headers of a worker's request that the requests of its lines have, too: they prove whose the lines are."""

LINE_HEADERS: Final = ((b"content-type", b"application/json"), (b"x-request-priority", b"batch"))


@router.post("/v1/batches", response_class=Response)
async def create_batch(request: Request) -> Response:
    """Run all requests of a file in the background, at batch priority."""
    batches = batch_service(request)
    asked = validated(BatchRequest, await read_json(request), ItemLimit(1, "input_file_id"))
    if asked.endpoint not in table.ENTRIES or "{" in asked.endpoint:
        raise InvalidInput("endpoint must be the path of a task, as /v1/embeddings or /v1/rerank.", param="endpoint")
    return _json(_description(await batches.create_batch(state_of(request.scope).caller, asked)))


@router.get("/v1/batches")
async def batches_of_caller(
    request: Request, batches: Batches, after: str = "", limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
) -> Response:
    """List the caller's batches, the last one first."""
    found = await batches.batches.list_batches(state_of(request.scope).caller, after=after, limit=limit + 1)
    page = [_description(each) for each in found[:limit]]
    body: BatchList = {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(found) > limit,
    }
    return _json(body)


@router.get("/v1/batches/{batch_id}")
async def batch_description(batch_id: str, request: Request, batches: Batches) -> Response:
    """Say how far a batch is."""
    return _json(_description(await batches.batch(batch_id, state_of(request.scope).caller)))


@router.post("/v1/batches/{batch_id}/cancel")
async def cancel_batch(batch_id: str, request: Request, batches: Batches) -> Response:
    """Cancel a batch. Its output file has the lines that are done."""
    return _json(_description(await batches.cancel_batch(batch_id, state_of(request.scope).caller)))


@router.post(STEP_PATH, include_in_schema=False, response_class=Response)
async def batch_step(request: Request) -> Response:
    """Run a step of a batch for a worker, which proves by its lease that it holds the job."""
    batches = batch_service(request)
    job_id, _, token = request.headers.get(LEASE_HEADER, "").partition(":")
    step = Step.of(job_id)
    # Asked again, because a worker takes 404 as the end of the job: it must not be the answer when Redis is away.
    if step is None or await batches.lease_owner(job_id, token) is None:
        raise NotFound("There is nothing at this path; /docs lists what there is.")
    await batches.steps.run(step, _ask(request), request.app.state.stopping.is_set)
    return _json({})


def _ask(request: Request) -> Ask:
    """Return a function that sends a line to this server, as the worker's request for the same job."""
    own = [(name, value) for name, value in request.scope["headers"] if name in FORWARDED]
    client = (request.client.host, request.client.port) if request.client else ("127.0.0.1", 0)

    async def ask(path: str, body: bytes, request_id: str) -> LineAnswer:
        length, name = str(len(body)).encode(), request_id.encode()
        headers = [*own, *LINE_HEADERS, (b"content-length", length), (b"x-request-id", name)]
        answer = await in_process.post(request.app, path, body, headers, client)
        after = answer.headers.get(b"retry-after")
        return LineAnswer(answer.status, None if after is None else float(after), request_id, bytes(answer.body))

    return ask


def _description(batch: BatchRecord) -> BatchAnswer:
    times = {name: milliseconds // 1000 for name, milliseconds in batch.times.items()}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": list(batch.errors)} if batch.errors else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file or None,
        "error_file_id": batch.error_file or None,
        "created_at": batch.created_ms // 1000,
        "in_progress_at": times.get("in_progress_at"),
        "expires_at": batch.deadline_ms // 1000,
        "finalizing_at": times.get("finalizing_at"),
        "completed_at": times.get("completed_at"),
        "failed_at": times.get("failed_at"),
        "expired_at": times.get("expired_at"),
        "cancelling_at": times.get("cancelling_at"),
        "cancelled_at": times.get("cancelled_at"),
        "request_counts": {"total": batch.num_lines, "completed": batch.num_completed, "failed": batch.num_failed},
        "metadata": dict(batch.metadata) if batch.metadata is not None else None,
    }


def _json(body: object) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
