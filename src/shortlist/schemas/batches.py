"""Files and batches in HTTP, as OpenAI has them.

Source: platform.openai.com, API reference, Files and Batch.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

BatchStatusName = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]


class FileAnswer(TypedDict):
    """An uploaded file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str


class RequestCounts(TypedDict):
    """Lines of a batch."""

    total: int
    completed: int
    failed: int


class BatchError(TypedDict):
    """Why a batch is not valid."""

    code: NotRequired[str | None]
    message: NotRequired[str | None]
    line: NotRequired[int | None]
    param: NotRequired[str | None]


class BatchErrors(TypedDict):
    """A list of them."""

    object: NotRequired[str]
    data: NotRequired[list[BatchError]]


class BatchAnswer(TypedDict):
    """A batch."""

    id: str
    object: Literal["batch"]
    endpoint: str
    status: BatchStatusName
    input_file_id: str
    created_at: int
    output_file_id: NotRequired[str | None]
    error_file_id: NotRequired[str | None]
    request_counts: NotRequired[RequestCounts | None]
    errors: NotRequired[BatchErrors | None]


class BatchLineResponse(TypedDict):
    """The answer to one line of a batch."""

    status_code: int
    request_id: str
    body: Any


class BatchLineError(TypedDict):
    """Why a line has no answer."""

    code: NotRequired[str | None]
    message: NotRequired[str | None]


class BatchLineAnswer(TypedDict):
    """One line of the output file or the error file of a batch."""

    custom_id: str
    response: NotRequired[BatchLineResponse | None]
    error: NotRequired[BatchLineError | None]
