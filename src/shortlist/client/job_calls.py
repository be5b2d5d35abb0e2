"""Requests and answers of jobs and batches, as pure functions and values for both clients.

Source: jobs are Shortlist's own; files and batches are OpenAI's (platform.openai.com, API reference, Files and Batch).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, TypeVar, overload
from urllib.parse import quote

import httpx2
import orjson
from pydantic import TypeAdapter, ValidationError

from shortlist.client.errors import read_error
from shortlist.client.http_calls import HttpCall, embed_call, read_answer, rerank_call
from shortlist.client.results import Embedded, Embeddings, EmbedRequest, Ranking, Reranked, RerankRequest
from shortlist.errors import InvalidInput, ServiceError, UpstreamError
from shortlist.schemas.jobs import JobDescription, JobList, Status, WebhookSecret
from shortlist.schemas.openai_batches import BatchAnswer, BatchLineAnswer, BatchList, FileAnswer

T = TypeVar("T")

ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "expired"})
"""The last statuses of jobs."""

BATCH_ENDED: Final = frozenset({"completed", "failed", "cancelled", "expired"})
"""The last statuses of batches."""

COMPLETION_WINDOW: Final = "24h"
"""The only one that there is."""

_JOB: Final = TypeAdapter(JobDescription)
_JOB_LIST: Final = TypeAdapter(JobList)
_FILE: Final = TypeAdapter(FileAnswer)
_BATCH: Final = TypeAdapter(BatchAnswer)
_BATCH_LIST: Final = TypeAdapter(BatchList)
_SECRET: Final = TypeAdapter(WebhookSecret)
_BATCH_LINE: Final = TypeAdapter(BatchLineAnswer)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedJob(Generic[T]):
    """A job as the server described it.

    Attributes:
        id: Its id.
        status: Its status at that time.
        path: The path of its request.
        created_at: When it was accepted, in seconds since 1970.
        attempts: How often a worker has begun with it.
        finished_at: When it ended, in seconds since 1970; None before.
        webhook: Its webhook, and how far the delivery is; None without one.
        read: Returns the result from an answer to its request, or raises the error.
    """

    id: str
    status: Status
    path: str
    created_at: float
    attempts: int
    finished_at: float | None = None
    webhook: Mapping[str, object] | None = None
    read: Callable[[httpx2.Response], T] = field(repr=False, compare=False)

    @property
    def has_ended(self) -> bool:
        """Whether the status is a last one."""
        return self.status in ENDED


# -- jobs ---------------------------------------------------------------------------------------------------------------


@overload
def request_call(request: RerankRequest) -> HttpCall[Ranking]: ...
@overload
def request_call(request: EmbedRequest) -> HttpCall[Embeddings]: ...
def request_call(request: RerankRequest | EmbedRequest) -> HttpCall[Ranking] | HttpCall[Embeddings]:
    """Return the call that would compute a request at once.

    Raises:
        InvalidInput: an argument is invalid.
    """
    return rerank_call(request) if isinstance(request, RerankRequest) else embed_call(request)


def submit_call(call: HttpCall[T], *, webhook: str | None, idempotency_key: str | None) -> HttpCall[SubmittedJob[T]]:
    """Return the call that submits another call as a job. It may be sent again: its key makes it one job."""
    wish: dict[str, object] = {"path": call.path, "body": orjson.Fragment(call.body or b"null")}
    if webhook is not None:
        wish["webhook"] = {"url": webhook}
    headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
    read = partial(_read_job, read=call.read)
    return HttpCall("POST", "/v1/jobs", read, orjson.dumps(wish), more_headers=headers, is_repeatable=True)


def job_call(job_id: str) -> HttpCall[SubmittedJob[object]]:
    """Return the call that describes a job."""
    return HttpCall("GET", _job_path(job_id), partial(_read_job, read=read_any_result), is_repeatable=True)


def jobs_call() -> HttpCall[list[SubmittedJob[object]]]:
    """Return the call that lists jobs."""
    return HttpCall("GET", "/v1/jobs", _read_jobs, is_repeatable=True)


def result_call(job: SubmittedJob[T]) -> HttpCall[T]:
    """Return the call that reads a job's result."""
    return HttpCall("GET", f"{_job_path(job.id)}/result", job.read, is_repeatable=True)


def cancel_call(job_id: str) -> HttpCall[None]:
    """Return the call that cancels a job and removes its texts."""
    return HttpCall("DELETE", _job_path(job_id), _read_nothing, is_repeatable=True)


def secret_call(*, rotate: bool) -> HttpCall[str]:
    """Return the call that reads the secret of webhooks, or replaces it."""
    return HttpCall("POST" if rotate else "GET", "/v1/webhooks/secret", _read_secret)


def events_call(job_id: str, after: str) -> HttpCall[None]:
    """Return the call that follows a job's events after one of them."""
    headers = {"accept": "text/event-stream"} | ({"last-event-id": after} if after else {})
    return HttpCall("GET", f"{_job_path(job_id)}/events", _read_nothing, more_headers=headers)


def read_any_result(response: httpx2.Response) -> object:
    """Return a result as JSON, whatever it is the answer to.

    Raises:
        ServiceError: it is an error.
    """
    if not response.is_success:
        raise read_error(response)
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        raise UpstreamError("The server's response is not JSON.", is_retryable=False) from None


def _job_path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _read_job(response: httpx2.Response, *, read: Callable[[httpx2.Response], T]) -> SubmittedJob[T]:
    return _job(read_answer(_JOB, response), read)


def _read_jobs(response: httpx2.Response) -> list[SubmittedJob[object]]:
    return [_job(each, read_any_result) for each in read_answer(_JOB_LIST, response)["data"]]


def _job(answer: JobDescription, read: Callable[[httpx2.Response], T]) -> SubmittedJob[T]:
    return SubmittedJob(
        id=answer["id"],
        status=answer["status"],
        path=answer["path"],
        created_at=answer["created_at"],
        attempts=answer["attempts"],
        finished_at=answer.get("finished_at"),
        webhook=dict(answer["webhook"]) if "webhook" in answer else None,
        read=read,
    )


def _read_secret(response: httpx2.Response) -> str:
    return read_answer(_SECRET, response)["secret"]


def _read_nothing(response: httpx2.Response) -> None:
    if not response.is_success:
        raise read_error(response)


# -- batches ------------------------------------------------------------------------------------------------------------


class BatchPlan:
    """The requests of one batch as lines of its input file, and its answers as outcomes.

    Args:
        requests: Rerank requests, or embedding requests.

    Raises:
        InvalidInput: there is none, they are of two kinds, or one is invalid.
    """

    def __init__(self, requests: Sequence[RerankRequest] | Sequence[EmbedRequest]) -> None:
        self._requests: list[RerankRequest | EmbedRequest] = list(requests)
        self._calls: list[HttpCall[Any]] = [request_call(each) for each in self._requests]
        self._positions = {str(position): position for position in range(len(self._requests))}
        paths = {call.path for call in self._calls}
        if len(paths) != 1:
            raise InvalidInput("A batch needs requests, all of one kind.", param="requests")
        [self.endpoint] = paths

    @property
    def num_requests(self) -> int:
        """The number of requests."""
        return len(self._requests)

    def upload_call(self) -> HttpCall[FileAnswer]:
        """Return the call that uploads the input file."""
        boundary = uuid.uuid4().hex
        body = b"".join(
            (_UPLOAD_HEAD.replace("BOUNDARY", boundary).encode(), *self._lines(), f"\r\n--{boundary}--\r\n".encode())
        )
        headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        return HttpCall("POST", "/v1/files", partial(read_answer, _FILE), body, more_headers=headers)

    def create_call(self, file: FileAnswer) -> HttpCall[BatchAnswer]:
        """Return the call that starts the batch."""
        wish = {"input_file_id": file["id"], "endpoint": self.endpoint, "completion_window": COMPLETION_WINDOW}
        return HttpCall("POST", "/v1/batches", partial(read_answer, _BATCH), orjson.dumps(wish))

    def outcome(self, line: bytes) -> Reranked | Embedded:
        """Return the outcome that a line of an output file is.

        Raises:
            UpstreamError: the line is not one.
        """
        try:
            answer = _BATCH_LINE.validate_json(line, strict=True)
            position = self._positions[answer["custom_id"]]
        except (ValidationError, KeyError):
            raise UpstreamError("A line of the batch's output is invalid.", is_retryable=False) from None
        return self._outcome(position, self._requests[position], _line_answer(answer, self._calls[position]))

    @staticmethod
    def _outcome(position: int, request: RerankRequest | EmbedRequest, answer: Any) -> Reranked | Embedded:
        if isinstance(request, RerankRequest):
            return Reranked(position, request, answer)
        return Embedded(position, request, answer)

    def _lines(self) -> Iterator[bytes]:
        for position, call in enumerate(self._calls):
            line = {
                "custom_id": str(position),
                "method": call.method,
                "url": call.path,
                "body": orjson.Fragment(call.body or b""),
            }
            yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


_UPLOAD_HEAD: Final = (
    '--BOUNDARY\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    '--BOUNDARY\r\ncontent-disposition: form-data; name="file"; filename="batch.jsonl"\r\n'
    "content-type: application/jsonl\r\n\r\n"
)


def batch_call(batch_id: str) -> HttpCall[BatchAnswer]:
    """Return the call that describes a batch."""
    return HttpCall("GET", f"/v1/batches/{quote(batch_id, safe='')}", partial(read_answer, _BATCH), is_repeatable=True)


def batches_call() -> HttpCall[list[BatchAnswer]]:
    """Return the call that lists batches, the newest first."""
    return HttpCall("GET", "/v1/batches?limit=100", _read_batches, is_repeatable=True)


def cancel_batch_call(batch_id: str) -> HttpCall[BatchAnswer]:
    """Return the call that cancels a batch."""
    return HttpCall("POST", f"/v1/batches/{quote(batch_id, safe='')}/cancel", partial(read_answer, _BATCH), is_repeatable=True)


def content_call(file_id: str) -> HttpCall[list[bytes]]:
    """Return the call that downloads the lines of a file."""
    return HttpCall("GET", f"/v1/files/{quote(file_id, safe='')}/content", _read_lines, is_repeatable=True)


def remove_file_call(file_id: str) -> HttpCall[None]:
    """Return the call that removes a file."""
    return HttpCall("DELETE", f"/v1/files/{quote(file_id, safe='')}", _read_nothing, is_repeatable=True)


def batch_error(batch: BatchAnswer) -> ServiceError | None:
    """Return the error of a batch that has no output; None if it has one."""
    if batch["status"] != "failed":
        return None
    found = batch["errors"]["data"] if batch["errors"] else []
    return InvalidInput(found[0]["message"], param=found[0]["param"]) if found else InvalidInput("The batch failed.")


def output_files(batch: BatchAnswer) -> list[str]:
    """Return the ids of the files with answers."""
    return [file_id for file_id in (batch["output_file_id"], batch["error_file_id"]) if file_id]


def num_done(batch: BatchAnswer) -> int:
    """Return how many requests of a batch have ended."""
    counts = batch["request_counts"]
    return counts["completed"] + counts["failed"]


def _read_batches(response: httpx2.Response) -> list[BatchAnswer]:
    return read_answer(_BATCH_LIST, response)["data"]


def _read_lines(response: httpx2.Response) -> list[bytes]:
    if not response.is_success:
        raise read_error(response)
    return [line for line in response.content.split(b"\n") if line]


def _line_answer(answer: BatchLineAnswer, call: HttpCall[Any]) -> Any:
    """Return the value or the error of a line."""
    response, error = answer["response"], answer["error"]
    if response is None:
        message = "The request was not computed." if error is None else error["message"]
        return UpstreamError(message, is_retryable=True)
    headers = {"x-request-id": response["request_id"]}
    try:
        return call.read(httpx2.Response(response["status_code"], headers=headers, content=orjson.dumps(response["body"])))
    except ServiceError as raised:
        return raised
