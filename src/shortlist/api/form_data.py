"""Reads an uploaded file from a multipart form as it arrives: never whole, and never into a file of another place.

Source: RFC 7578, multipart/form-data.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from starlette.types import Receive

from shortlist.api.request_body import ClientDisconnected
from shortlist.errors import BodyTooLarge, BodyTooSlow, InvalidInput, UnsupportedMedia

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELD_BYTES: Final = 4096
"""Longest value of a field that is no file."""

MAX_FIELDS: Final = 16

MAX_FILENAME_CHARS: Final = 255

UPLOAD_TIMEOUT_S: Final = 3600.0
"""Longest time for a whole upload; each piece of it has `body_timeout_s`."""

BAD_FORM: Final = "The body is not a valid multipart form."


class UploadForm:
    """A multipart form with one file.

    Attributes:
        fields: The fields that have been read so far, by name.
        filename: What the client calls the file.

    Args:
        receive: The channel of the request.
        content_type: Its header.
        max_bytes: The largest file.
        piece_timeout_s: Longest time for a piece of the body.
    """

    def __init__(self, receive: Receive, content_type: str, *, max_bytes: int, piece_timeout_s: float) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise UnsupportedMedia("Files are uploaded as multipart/form-data.")
        self.fields: dict[str, str] = {}
        self.filename = ""
        self._receive = receive
        self._max_bytes = max_bytes
        self._piece_timeout_s = piece_timeout_s
        self._header_name, self._header_value = bytearray(), bytearray()
        self._disposition = b""
        self._name, self._value = "", bytearray()
        self._is_file, self._has_file, self._has_ended = False, False, False
        self._pieces: deque[bytes] = deque()
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_header_field": self._on_header_name,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_end": self._finished,
        }
        self._parser = MultipartParser(options[b"boundary"], callbacks)

    async def file(self) -> AsyncIterator[bytes]:
        """Yield the pieces of the file; the fields are complete when it ends.

        Raises:
            InvalidInput: the form is not one, or has no file.
            BodyTooLarge, BodyTooSlow: it exceeds a limit.
        """
        from python_multipart.exceptions import FormParserError

        num_bytes = 0
        async for body in self._body():
            try:
                self._parser.write(body)
            except FormParserError:
                raise InvalidInput(BAD_FORM) from None
            while self._pieces:
                piece = self._pieces.popleft()
                num_bytes += len(piece)
                if num_bytes > self._max_bytes:
                    raise BodyTooLarge(f"The file is larger than {self._max_bytes} bytes (max_file_bytes).")
                yield piece
        if not self._has_ended:
            raise InvalidInput(BAD_FORM)
        if not self._has_file:
            raise InvalidInput("The form has no file.", param="file")

    async def _body(self) -> AsyncIterator[bytes]:
        until_s = asyncio.get_running_loop().time() + UPLOAD_TIMEOUT_S
        while True:
            try:
                async with asyncio.timeout(min(self._piece_timeout_s, until_s - asyncio.get_running_loop().time())):
                    message = await self._receive()
            except TimeoutError:
                raise BodyTooSlow("The file did not arrive in time.") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return

    def _begin(self) -> None:
        self._disposition, self._name, self._is_file = b"", "", False
        self._value.clear()

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == "file"
        if self._is_file and self._has_file:
            raise InvalidInput("The form has more than one file.", param="file")
        if self._is_file:
            self._has_file = True
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")[:MAX_FILENAME_CHARS]

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(bytes(data[start:end]))
        elif len(self._value) + end - start > MAX_FIELD_BYTES:
            raise InvalidInput(f"A field of the form has more than {MAX_FIELD_BYTES} bytes.")
        else:
            self._value += data[start:end]

    def _end(self) -> None:
        if self._is_file:
            return
        if len(self.fields) >= MAX_FIELDS:
            raise InvalidInput(f"The form has more than {MAX_FIELDS} fields.")
        self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _finished(self) -> None:
        self._has_ended = True
