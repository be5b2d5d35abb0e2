"""One HTTP connection: uvicorn's protocol with limits for headers, idle connections and clients that do not read.

Nothing here needs a key, so everything costs little: headers are limited in bytes and time, a connection without a request
gives way to a new one, and an answer that is not read is dropped with its connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final, cast

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shortlist.config import ServerSettings

MIN_WRITTEN_BYTES: Final = 65_536
"""A client must read this much of an answer, or all of it, in every `write_timeout_s`."""

SINGLE_HEADERS: Final = (b"host", b"authorization")
"""Headers of which a second one could mean something else to a proxy in front of the server."""


OFFERS: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})
"""Headers of an offer of another protocol. Source: RFC 9113, 3.1 (h2c, withdrawn there)."""


@dataclass(slots=True)
class ConnectionLimits:
    """The limits of all connections of a server, and the connections that have no request.

    Attributes:
        max_header_bytes: Request line and headers.
        header_timeout_s: From the first byte of a request, or the start of a connection, to the last header.
        write_timeout_s: See `MIN_WRITTEN_BYTES`.
        max_connections: Open connections.
        waiting: Connections without a request, the longest waiting first.
    """

    max_header_bytes: int
    header_timeout_s: float
    write_timeout_s: float
    max_connections: int
    waiting: dict[HttpProtocol, None] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: ServerSettings, *, max_connections: int) -> ConnectionLimits:
        """Return the limits of these settings."""
        return cls(
            max_header_bytes=settings.max_header_bytes,
            header_timeout_s=settings.header_timeout_s,
            write_timeout_s=settings.write_timeout_s,
            max_connections=max_connections,
        )

    def protocol(self) -> type[asyncio.Protocol]:
        """Return the protocol for `uvicorn.Config`."""

        def connect(**arguments: Any) -> HttpProtocol:
            return HttpProtocol(self, **arguments)

        return cast("type[asyncio.Protocol]", connect)  # uvicorn calls it, nothing else


class HttpProtocol(HttpToolsProtocol):
    """An HTTP/1.1 connection."""

    def __init__(self, limits: ConnectionLimits, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits = limits
        self._header_bytes = 0
        self._in_headers = False
        self._is_refused = False
        self._is_offer = False
        self._unwritten_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    # -- connections --

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Accept a connection; at the limit, the one that has waited longest is closed for it."""
        if len(self.connections) >= self._limits.max_connections:
            longest = next(iter(self._limits.waiting), None)
            if longest is None:
                transport.abort()
                return
            longest.close()
        super().connection_made(transport)
        self._limits.waiting[self] = None
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._limits.waiting.pop(self, None)
        _cancel(self._header_timer)
        _cancel(self._write_timer)
        self._write_timer = None
        if self.transport is not None:
            super().connection_lost(exc)

    def close(self) -> None:
        """Close the connection at once."""
        self._limits.waiting.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    # -- headers --

    def data_received(self, data: bytes) -> None:
        """Read bytes, within the limits for headers."""
        if self._is_refused:
            return
        if self in self._limits.waiting:
            self._limits.waiting.pop(self)
            self._start_header_timer()
        was_in_headers = self._in_headers
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._in_headers and was_in_headers:
            self._header_bytes += len(data)
            self._check_header_bytes(self._header_bytes)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if not self._is_refused:
                self._refuse(400, "The request is not valid HTTP.")
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif not self._is_refused:
                self._read_again(data[upgrade.args[0] :])

    def _read_again(self, rest: bytes) -> None:
        """Read a request again without its offer of another protocol, for which the parser skips the body.

        Java's HttpClient offers HTTP/2 with every first request.
        """
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers if name not in OFFERS]
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        if self._header_timer is None:
            self._start_header_timer()

    def on_headers_complete(self) -> None:
        """Start the handler, unless the headers are refused."""
        self._in_headers = False
        _cancel(self._header_timer)
        self._header_timer = None
        num_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if self._is_refused or self._check_header_bytes(num_bytes) or self._check_single_headers():
            return
        self._is_offer = self.parser.should_upgrade() and not self._should_upgrade()
        if not self._is_offer:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read a part of a body."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if not self._is_refused and not self._is_offer:
            super().on_message_complete()

    def _check_header_bytes(self, num_bytes: int) -> bool:
        if num_bytes <= self._limits.max_header_bytes:
            return False
        self._refuse(431, f"Request line and headers are larger than {self._limits.max_header_bytes} bytes (max_header_bytes).")
        return True

    def _check_single_headers(self) -> bool:
        names = [name for name, _ in self.headers]
        for name in SINGLE_HEADERS:
            if names.count(name) > 1:
                self._refuse(400, f"The header {name.decode()} must be sent once.")
                return True
        if self.parser.get_http_version() == "1.1" and b"host" not in names:
            self._refuse(400, "The header host is required.")
            return True
        return False

    def _refuse(self, status: int, message: str) -> None:
        """Answer before there is a request, and close."""
        self._is_refused = True
        is_free = self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr] # None at first
        if is_free:
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_input"}
            body = orjson.dumps({"error": error, "message": message, "detail": message})
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()

    # -- time --

    def _start_header_timer(self) -> None:
        _cancel(self._header_timer)
        self._header_timer = self.loop.call_later(self._limits.header_timeout_s, self._on_header_timeout)

    def _on_header_timeout(self) -> None:
        self._header_timer = None
        self.close()

    def on_response_complete(self) -> None:
        """Wait for the next request, and for the client to read this answer."""
        self._start_write_timer()
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._limits.waiting[self] = None

    def pause_writing(self) -> None:
        """Wait for a client that reads slowly."""
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        """Go on; what is left must be read in time, too."""
        super().resume_writing()
        self._start_write_timer()

    def _start_write_timer(self) -> None:
        _cancel(self._write_timer)
        self._unwritten_bytes = self.transport.get_write_buffer_size()
        self._write_timer = (
            self.loop.call_later(self._limits.write_timeout_s, self._on_write_timeout) if self._unwritten_bytes else None
        )

    def _on_write_timeout(self) -> None:
        self._write_timer = None
        left = self.transport.get_write_buffer_size()
        if not left:
            return
        if left > self._unwritten_bytes - MIN_WRITTEN_BYTES:
            self.close()
        else:
            self._start_write_timer()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
