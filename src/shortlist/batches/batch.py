"""Batches as values: what their record says, and how their jobs are called."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast

import orjson

from shortlist.schemas.openai_batches import BatchErrorDetail, BatchStatus

WINDOW_S: Final = 24 * 3600.0
"""Time from a batch's creation to its deadline. Source: OpenAI, `completion_window`, which has this one value."""

STEP_PATH: Final = "/internal/batch-step"
"""Where workers send the jobs of batches. Their id says which step it is."""

STEP_ID: Final = re.compile(r"(batch_[0-9a-f]{32})\.(?:(validate|finish)(?:\.\d{1,12})?|p(\d{1,6}))")

ENDED: Final[frozenset[BatchStatus]] = frozenset({"failed", "completed", "expired", "cancelled"})


def new_batch_id() -> str:
    """Return an id that no batch has, and that cannot be guessed."""
    return f"batch_{secrets.token_hex(16)}"


class Part(NamedTuple):
    """A range of lines of the input, without empty ones.

    Attributes:
        start: Its first byte.
        end: The byte behind it.
        num_lines: Its lines that are not empty.
    """

    start: int
    end: int
    num_lines: int


class Chunk(NamedTuple):
    """Lines of a part that are done.

    Attributes:
        output: The name of the file with answers; empty without any.
        output_bytes: Its size.
        failures: The name of the file with lines that failed; empty without any.
        failures_bytes: Its size.
    """

    output: str
    output_bytes: int
    failures: str
    failures_bytes: int


class Progress(NamedTuple):
    """What is done of a part.

    Attributes:
        num_lines: Lines that are done, from the first one on.
        chunks: Where they are, in order.
    """

    num_lines: int
    chunks: Sequence[Chunk]


class Step(NamedTuple):
    """What a job of a batch is to do.

    Attributes:
        batch_id: The batch.
        kind: What to do.
        part: The number of the part, from 0.
    """

    batch_id: str
    kind: Literal["validate", "part", "finish"]
    part: int = 0

    @classmethod
    def of(cls, job_id: str) -> Step | None:
        """Return the step of a job, or None if it is no job of a batch."""
        found = STEP_ID.fullmatch(job_id)
        if found is None:
            return None
        batch_id, kind, part = found.groups()
        if kind is None:
            return cls(batch_id, "part", int(part))
        return cls(batch_id, "validate" if kind == "validate" else "finish")


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch as its record says it is. Times are in milliseconds since 1970, by Redis' clock; 0 is never.

    Attributes:
        id: Its id.
        owner: Who may see and cancel it.
        input_file: The id of its input.
        endpoint: The path that its lines are sent to.
        metadata: What its owner noted on it.
        status: OpenAI's status.
        times: When it got a status, by the name of the field, as `in_progress_at`.
        created_ms: When it was created.
        deadline_ms: When it expires.
        num_lines: Lines of its input.
        num_completed: Lines that were answered with success.
        num_failed: Lines that failed.
        output_file: The id of the file with answers; empty without one.
        error_file: The id of the file with lines that failed; empty without one.
        errors: Why the input was refused.
        num_open: Parts that were handed out and have not ended.
        num_handed_out: Parts that were handed out.
        num_parts: All parts.
        ending: Why lines are left out: `cancelled`, `expired`, `storage_full`, or empty.
    """

    id: str
    owner: str
    input_file: str
    endpoint: str
    metadata: Mapping[str, str] | None
    status: BatchStatus
    times: Mapping[str, int]
    created_ms: int
    deadline_ms: int
    num_lines: int
    num_completed: int
    num_failed: int
    output_file: str
    error_file: str
    errors: Sequence[BatchErrorDetail]
    num_open: int
    num_handed_out: int
    num_parts: int
    ending: str

    @property
    def is_ended(self) -> bool:
        """Whether the status is the last one."""
        return self.status in ENDED

    @property
    def is_ready_to_finish(self) -> bool:
        """Whether all lines are done that will be."""
        all_out = self.status in {"cancelling", "finalizing"} or self.num_handed_out >= self.num_parts > 0
        return not self.is_ended and all_out and self.num_open <= 0


TIMES: Final = (
    *("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at"),
)


def batch_of(batch_id: str, record: Mapping[bytes, bytes]) -> BatchRecord:
    """Read a record. Fields that another version does not have get a default."""
    text = {name.decode(): value.decode() for name, value in record.items()}

    def number(name: str) -> int:
        return int(text.get(name) or 0)

    return BatchRecord(
        id=batch_id,
        owner=text["owner"],
        input_file=text["input"],
        endpoint=text["endpoint"],
        metadata=orjson.loads(text.get("metadata") or "null"),
        status=cast("BatchStatus", text["status"]),
        times={name: number(name) for name in TIMES if name in text},
        created_ms=number("created"),
        deadline_ms=number("deadline"),
        num_lines=number("total"),
        num_completed=number("num_completed"),
        num_failed=number("num_failed"),
        output_file=text.get("output", ""),
        error_file=text.get("error", ""),
        errors=orjson.loads(text.get("errors") or "[]"),
        num_open=number("open"),
        num_handed_out=number("next"),
        num_parts=number("parts"),
        ending=text.get("ending", ""),
    )
