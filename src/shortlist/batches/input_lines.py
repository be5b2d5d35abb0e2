"""The input of a batch: one request a line, in JSON. Pure: the caller reads the bytes.

Source: OpenAI, BatchRecord API guide, "Prepare your batch file": `{"custom_id", "method": "POST", "url", "body"}`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shortlist.batches.batch import Part
from shortlist.schemas.openai_batches import BatchErrorDetail

MAX_LINES: Final = 50_000
"""Source: OpenAI, BatchRecord API guide."""

MAX_ERRORS: Final = 100
"""Errors of one input that are reported."""

MAX_ID_CHARS: Final = 512

PART_LINES: Final = 32
PART_BYTES: Final = 1 << 20
"""Lines and bytes after which a part ends: what a server does for one job, and what a killed one loses."""


@dataclass(frozen=True, slots=True)
class InputLine:
    """A request of a batch.

    Attributes:
        custom_id: What its owner calls it.
        body: The body to send.
    """

    custom_id: str
    body: bytes


class LineRefused(Exception):
    """A line is no request.

    Args:
        code: OpenAI's code.
        message: What is wrong, without what the line has.
        param: The field.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def parse_line(line: bytes, endpoint: str, max_body_bytes: int) -> InputLine:
    """Return the request of a line.

    Raises:
        LineRefused: the line is no request for this endpoint.
    """
    if len(line) > max_body_bytes:
        raise LineRefused("line_too_long", f"The line has more than {max_body_bytes} bytes (max_body_bytes).")
    try:
        found: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise LineRefused("invalid_json_line", "The line is not valid JSON.") from None
    if not isinstance(found, dict):
        raise LineRefused("invalid_json_line", "The line must be a JSON object.")
    custom_id, body = found.get("custom_id"), found.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_ID_CHARS:
        message = f"custom_id must be a text of 1 to {MAX_ID_CHARS} characters."
        raise LineRefused("missing_required_parameter", message, "custom_id")
    if found.get("method") != "POST":
        raise LineRefused("invalid_method", "method must be POST.", "method")
    if found.get("url") != endpoint:
        raise LineRefused("invalid_url", "url must be the endpoint of the batch.", "url")
    if not isinstance(body, dict):
        raise LineRefused("missing_required_parameter", "body must be a JSON object.", "body")
    return InputLine(custom_id, orjson.dumps(body))


def non_empty(content: bytes) -> list[bytes]:
    """Return the lines of a part that are not empty."""
    return [line for line in content.split(b"\n") if line.strip()]


@dataclass(slots=True)
class InputCheck:
    """Reads an input piece by piece: checks every line, and divides them into parts.

    Args:
        endpoint: The path that all lines must be for.
        max_body_bytes: The longest line.
    """

    endpoint: str
    max_body_bytes: int
    num_lines: int = 0
    errors: list[BatchErrorDetail] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    _rest: bytearray = field(default_factory=bytearray)
    _rest_is_too_long: bool = False
    _position: int = 0
    _number: int = 0
    _ids: set[str] = field(default_factory=set)
    _part_start: int = 0
    _part_lines: int = 0

    def feed(self, piece: bytes) -> None:
        """Check the lines that end in the next piece of the input."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._append(piece[start:end])
            self._end_line(1)
            start = end + 1
        self._append(piece[start:])

    def close(self) -> None:
        """Check the last line, and the whole."""
        if self._rest or self._rest_is_too_long:
            self._end_line(0)
        self._end_part()
        if not self.num_lines:
            self._refuse(LineRefused("empty_file", "The file has no request."), None)
        elif self.num_lines > MAX_LINES:
            message = f"The file has {self.num_lines} requests; at most {MAX_LINES} are allowed."
            self._refuse(LineRefused("too_many_requests", message), None)

    def _append(self, content: bytes) -> None:
        """Keep the beginning of a line; of one that is too long, no more than its length."""
        self._position += len(content)
        if len(self._rest) + len(content) > self.max_body_bytes:
            self._rest_is_too_long = True
            self._rest.clear()
        if not self._rest_is_too_long:
            self._rest += content

    def _end_line(self, num_newlines: int) -> None:
        line, is_too_long = bytes(self._rest), self._rest_is_too_long
        self._rest.clear()
        self._rest_is_too_long = False
        self._position += num_newlines
        self._number += 1
        if is_too_long or line.strip():
            self._check(line, is_too_long=is_too_long)
            self._part_lines += 1
            if self._part_lines >= PART_LINES or self._position - self._part_start >= PART_BYTES:
                self._end_part()

    def _check(self, line: bytes, *, is_too_long: bool) -> None:
        self.num_lines += 1
        try:
            if is_too_long:
                raise LineRefused("line_too_long", f"The line has more than {self.max_body_bytes} bytes (max_body_bytes).")
            found = parse_line(line, self.endpoint, self.max_body_bytes)
            if found.custom_id in self._ids:
                raise LineRefused("duplicate_custom_id", "An earlier line has the same custom_id.", "custom_id")
            if self.num_lines <= MAX_LINES:  # more are refused anyhow
                self._ids.add(found.custom_id)
        except LineRefused as refusal:
            self._refuse(refusal, self._number)

    def _refuse(self, refusal: LineRefused, line: int | None) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"code": refusal.code, "line": line, "message": refusal.message, "param": refusal.param})

    def _end_part(self) -> None:
        if self._part_lines:
            self.parts.append(Part(self._part_start, self._position, self._part_lines))
        self._part_start, self._part_lines = self._position, 0
