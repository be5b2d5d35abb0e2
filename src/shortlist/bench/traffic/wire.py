"""HTTP as a load generator speaks it: one question at a time on a connection that stays open, parsed in C.

A client library costs about as much time per request as a small model. What is left out here is what a benchmark must not do
anyway: ask again by itself, follow redirects, or go through a proxy.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import Final, cast

import httptools

from shortlist.bench.traffic.target import Address

MAX_IDLE_S: Final = 2.0
"""Connections that were idle for longer are not used again: servers close theirs after a few seconds, some of them just as the
next question is on its way, and that would look like an answer that went lost."""

_ENDS: Final = frozenset({b"content-length", b"transfer-encoding"})
"""Headers that say where a body ends; without them, it ends with the connection."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: `at_s` is when its last byte was read, by `time.perf_counter`."""

    status: int
    body: bytes
    retry_after: str | None
    at_s: float


class Wire(asyncio.Protocol):
    """One connection. It is not open before it is connected, nor after an answer failed to come."""

    def __init__(self) -> None:
        self.is_open = False
        self.idle_since_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Reply] | None = None
        self._has_head = False
        self._has_end = False
        self._retry_after: str | None = None
        self._parts: list[bytes] = []

    async def ask(self, message: bytes) -> Reply:
        """Send a request and return what comes back. Whoever does not wait for it leaves a closed connection behind.

        Raises:
            ConnectionError: the connection ended before the answer did, or what came is not HTTP.
        """
        assert self._answer is None, "One question at a time. This is a bug."
        assert self._transport is not None, "It was connected before anybody had it. This is a bug."
        if not self.is_open:
            raise ConnectionResetError("the connection was closed")
        self._answer = answer = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        reply: Reply | None = None
        try:
            reply = await answer
        finally:
            self._answer = None
            if reply is None:  # an answer that comes later would be taken for that to the next question
                self.close()
        self.idle_since_s = reply.at_s
        return reply

    def close(self) -> None:
        """End the connection at once. Calling it twice is harmless."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    # -- what the event loop calls --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("what came back is not HTTP")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection for the end of the answer, where nothing else marks it."""
        self.is_open = False
        if exc is None and self._has_head and not self._has_end:
            self.on_message_complete()
        self._fail("the connection ended before the answer did")

    # -- what the parser calls --

    def on_message_begin(self) -> None:
        """Forget the answer before."""
        self._has_head = self._has_end = False
        self._retry_after = None
        self._parts = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note what the headers say that matters here."""
        name = name.lower()
        if name == b"retry-after":
            self._retry_after = value.decode("latin-1")
        self._has_end = self._has_end or name in _ENDS

    def on_headers_complete(self) -> None:
        """Note that a body follows."""
        self._has_head = self._parser.get_status_code() >= 200  # below that, the real answer is still to come

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._has_head = False
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Reply(status, b"".join(self._parts), self._retry_after, time.perf_counter()))

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(why))


class Pool:
    """Connections to one server: the one used last is used first, and there are as many as are needed at once."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._tls = ssl.create_default_context() if address.is_tls else None
        self._idle: list[Wire] = []

    async def take(self) -> Wire:
        """Return a connection that nobody uses.

        Raises:
            OSError: the server cannot be reached.
        """
        while self._idle:
            wire = self._idle.pop()
            if wire.is_open and time.perf_counter() - wire.idle_since_s < MAX_IDLE_S:
                return wire
            wire.close()
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(Wire, self._address.host, self._address.port, ssl=self._tls)
        return wire

    def give(self, wire: Wire) -> None:
        """Take a connection back whose answer has come."""
        if wire.is_open:
            self._idle.append(wire)

    def close(self) -> None:
        """Close what nobody uses."""
        for wire in self._idle:
            wire.close()
        self._idle.clear()
