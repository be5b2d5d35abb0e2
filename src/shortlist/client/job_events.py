"""Follows a job through server-sent events that may break off anywhere. Pure: it neither sends nor sleeps.

Source: WHATWG HTML, "Server-sent events": fields, comments, `id` and the header `Last-Event-ID`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast, get_args

import httpx2
import orjson

from shortlist.client.errors import RETRYABLE, read_error
from shortlist.client.http_calls import HttpCall
from shortlist.client.job_calls import ENDED, events_call
from shortlist.errors import UpstreamError
from shortlist.schemas.jobs import Status

READ_TIMEOUT_S: Final = 45.0
"""A server sends a comment every 15 seconds; without three of them, the connection is dead."""

FIRST_PAUSE_S: Final = 0.25
MAX_PAUSE_S: Final = 5.0
MAX_EVENT_BYTES: Final = 1 << 20

PROXY_ERRORS: Final = frozenset({httpx2.codes.BAD_GATEWAY, httpx2.codes.GATEWAY_TIMEOUT})
"""Statuses of proxies while a server restarts."""


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """One change of a job.

    Attributes:
        id: Its place; a later connection goes on after it.
        status: The status of the job since then.
        attempts: How often a worker has begun with the job.
    """

    id: str
    status: Status
    attempts: int

    @property
    def has_ended(self) -> bool:
        """Whether it is the last event."""
        return self.status in ENDED


class EventFollower:
    """State of following one job over any number of connections.

    Args:
        job_id: The job.
        after: The id of the last event that is known; an empty one means all events.
    """

    def __init__(self, job_id: str, after: str = "") -> None:
        self._job_id = job_id
        self._last_id = after
        self._buffer = b""
        self._pause_s = FIRST_PAUSE_S
        self.has_ended = False

    def call(self) -> HttpCall[None]:
        """Return the call that opens the next connection."""
        self._buffer = b""
        return events_call(self._job_id, self._last_id)

    def feed(self, chunk: bytes) -> Iterator[JobUpdate]:
        """Yield the events that a piece of the stream completes.

        Raises:
            UpstreamError: the stream is not one of events.
        """
        *blocks, self._buffer = (self._buffer + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise UpstreamError("The server's response is not a stream of events.", is_retryable=False)
        for block in blocks:
            event = _parsed(block)
            if event is not None and not self.has_ended:
                self._last_id, self._pause_s, self.has_ended = event.id, FIRST_PAUSE_S, event.has_ended
                yield event

    def pause_s(self) -> float:
        """Return the seconds to wait before the next connection, more each time until an event arrives."""
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, MAX_PAUSE_S)
        return pause_s

    def check(self, response: httpx2.Response) -> None:
        """Take an answer that is no stream, and whose body is read: 204 says that there are no more events.

        Raises:
            ServiceError: the server's error, unless another try may help.
        """
        if response.status_code == httpx2.codes.NO_CONTENT:
            self.has_ended = True
        elif response.status_code not in RETRYABLE | PROXY_ERRORS:
            raise read_error(response)


def _parsed(block: bytes) -> JobUpdate | None:
    """Return the event of a block; None for comments and for what this release does not know."""
    lines = [line.partition(b":") for line in block.split(b"\n") if not line.startswith(b":")]
    fields = {name: value.removeprefix(b" ") for name, _, value in lines}
    try:
        data = orjson.loads(fields[b"data"])
        status, attempts = data["status"], int(data["attempts"])
    except (KeyError, TypeError, ValueError):
        return None
    if status not in get_args(Status):
        return None
    return JobUpdate(fields.get(b"id", b"").decode(errors="replace"), cast("Status", status), attempts)
