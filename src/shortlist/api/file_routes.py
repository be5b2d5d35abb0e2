"""OpenAI's `/v1/files`: upload, list, look, download, delete. A file is its owner's alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from shortlist.api.form_data import UploadForm
from shortlist.api.request_state import state_of
from shortlist.batches.batch_service import INPUT_PURPOSE, BatchService
from shortlist.batches.file_records import FileRecord
from shortlist.errors import InvalidInput, NotFound
from shortlist.schemas.openai_batches import MAX_EXPIRY_S, MIN_EXPIRY_S, DeletedFile, FileAnswer, FileList

FILES_PATH: Final = "/v1/files"

router = APIRouter(prefix=FILES_PATH, tags=["files"])

MAX_PAGE: Final = 10_000
"""Source: OpenAI, GET /v1/files, `limit`."""

EXPIRY_ANCHOR: Final = "expires_after[anchor]"
EXPIRY_SECONDS: Final = "expires_after[seconds]"
"""Fields of the form. Source: the openai package, `client.files.create(expires_after=...)`."""


def batch_service(request: Request) -> BatchService:
    """Return the files and batches of the server.

    Raises:
        NotFound: it has none.
    """
    found: BatchService | None = request.app.state.batches
    if found is None:
        raise NotFound("This server has no files and batches; start it with --jobs and --job-files.")
    return found


Batches = Annotated[BatchService, Depends(batch_service)]


@router.post("", response_class=Response)
async def upload(request: Request) -> Response:
    """Store a file with requests of a batch, one a line. It is read as it arrives, and answered when it is on disk."""
    batches, owner = batch_service(request), state_of(request.scope).caller
    settings = request.app.state.runtime.settings.server
    form = UploadForm(
        request.receive,
        request.headers.get("content-type", ""),
        max_bytes=batches.max_file_bytes,
        piece_timeout_s=settings.body_timeout_s,
    )
    name, num_bytes = await batches.store_bytes(owner, form.file())
    try:
        ttl_s = _checked(form, batches.ttl_s)
    except InvalidInput:
        await batches.store.delete(name)
        raise
    record = await batches.add_file(owner, name, num_bytes, filename=form.filename or f"{name}.jsonl", ttl_s=ttl_s)
    return _json(_description(record))


@router.get("")
async def files_of_caller(
    request: Request,
    batches: Batches,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    order: str = "desc",
    purpose: str = "",
) -> Response:
    """List the caller's files."""
    if order not in {"asc", "desc"}:
        raise InvalidInput("order must be asc or desc.", param="order")
    found = [each for each in await batches.files.list_files(state_of(request.scope).caller) if purpose in {"", each.purpose}]
    if order == "asc":
        found.reverse()
    first = next((index + 1 for index, each in enumerate(found) if each.id == after), len(found)) if after else 0
    page = [_description(each) for each in found[first : first + limit]]
    body: FileList = {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(found) > first + limit,
    }
    return _json(body)


@router.get("/{file_id}")
async def file_description(file_id: str, request: Request, batches: Batches) -> Response:
    """Describe a file."""
    return _json(_description(await batches.file(file_id, state_of(request.scope).caller)))


@router.get("/{file_id}/content", response_class=StreamingResponse)
async def file_content(file_id: str, request: Request, batches: Batches) -> Response:
    """Return the bytes of a file."""
    file = await batches.file(file_id, state_of(request.scope).caller)
    pieces = batches.store.read(file.id)
    first = await anext(pieces, b"")  # an error of the store becomes a status
    headers = {
        "content-length": str(file.num_bytes),
        "content-disposition": f'attachment; filename="{file.id}.jsonl"',
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(_chained(first, pieces), media_type="application/octet-stream", headers=headers)


@router.delete("/{file_id}")
async def delete_file(file_id: str, request: Request, batches: Batches) -> Response:
    """Delete a file. A batch that reads it fails, or leaves out what it has not read."""
    await batches.delete_file(file_id, state_of(request.scope).caller)
    body: DeletedFile = {"id": file_id, "object": "file", "deleted": True}
    return _json(body)


async def _chained(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


def _checked(form: UploadForm, default_s: float) -> float:
    """Check the fields of a form; return for how many seconds to keep the file."""
    if form.fields.get("purpose") != INPUT_PURPOSE:
        raise InvalidInput("purpose must be batch.", param="purpose")
    text = form.fields.get(EXPIRY_SECONDS)
    if text is None:
        return default_s
    if form.fields.get(EXPIRY_ANCHOR) != "created_at":
        raise InvalidInput("expires_after.anchor must be created_at.", param=EXPIRY_ANCHOR)
    if not (text.isascii() and text.isdigit() and MIN_EXPIRY_S <= int(text[:12]) <= MAX_EXPIRY_S):
        raise InvalidInput(f"expires_after.seconds must be {MIN_EXPIRY_S} to {MAX_EXPIRY_S}.", param=EXPIRY_SECONDS)
    return float(text)


def _description(file: FileRecord) -> FileAnswer:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.num_bytes,
        "created_at": file.created_ms // 1000,
        "expires_at": file.expires_ms // 1000,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def _json(body: object) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
