"""Bodies of `/v1/files` and `/v1/batches`, as OpenAI's. Times are in seconds since 1970."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from shortlist.schemas.fields import RequestFields

BatchStatus = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]

MIN_EXPIRY_S = 3600
MAX_EXPIRY_S = 2_592_000


class OutputExpiry(RequestFields):
    """When the output of a batch is removed."""

    anchor: Literal["created_at"] = Field(description="The time to count from: that at which the file is created.")
    seconds: int = Field(ge=MIN_EXPIRY_S, le=MAX_EXPIRY_S, description="Seconds from then on.")


Metadata = Annotated[dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)]


class BatchRequest(RequestFields):
    """A batch to create."""

    input_file_id: str = Field(max_length=64, description="A file that was uploaded with the purpose batch.")
    endpoint: str = Field(max_length=256, description="The path of a task that all lines are for, as /v1/embeddings.")
    completion_window: Literal["24h"] = Field(description="The time for all lines; what is not done by then is left out.")
    metadata: Metadata | None = Field(default=None, description="At most 16 texts by name, for the owner's use.")
    output_expires_after: OutputExpiry | None = Field(default=None, description="When output and error file are removed.")


class FileAnswer(TypedDict):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: None


class FileList(TypedDict):
    """Files of one owner."""

    object: Literal["list"]
    data: list[FileAnswer]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(TypedDict):
    """A file that was deleted."""

    id: str
    object: Literal["file"]
    deleted: bool


class BatchErrorDetail(TypedDict):
    """What is wrong with the input of a batch."""

    code: str
    line: int | None
    message: str
    param: str | None


class BatchErrors(TypedDict):
    """All that is wrong with the input of a batch; the first hundred."""

    object: Literal["list"]
    data: list[BatchErrorDetail]


class RequestCounts(TypedDict):
    """Lines of a batch."""

    total: int
    completed: int
    failed: int


class BatchAnswer(TypedDict):
    """A batch."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: Literal["24h"]
    status: BatchStatus
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None


class BatchList(TypedDict):
    """Batches of one owner, the last one first."""

    object: Literal["list"]
    data: list[BatchAnswer]
    first_id: str | None
    last_id: str | None
    has_more: bool


class LineResponse(TypedDict):
    """The answer to a line."""

    status_code: int
    request_id: str
    body: Any


class LineError(TypedDict):
    """Why a line has no answer."""

    code: str
    message: str


class BatchLineAnswer(TypedDict):
    """A line of an output or an error file."""

    id: str
    custom_id: str
    response: LineResponse | None
    error: LineError | None
