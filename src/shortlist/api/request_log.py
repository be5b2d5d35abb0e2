"""The outermost middleware: request id, duration, trace, error body and one log line per request. Pure ASGI."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shortlist.api import errors
from shortlist.api.record import Record
from shortlist.api.request_state import state_of
from shortlist.errors import Draining, EngineError, ServiceError
from shortlist.telemetry import Metrics, logger
from shortlist.telemetry.traces import NO_TRACE, NO_TRACING, Trace, Tracing, use_trace

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""Valid request ids of callers, which are echoed; others could inject text into logs."""

CLIENT_CLOSED_REQUEST = 499
"""Status in metrics of a client that disconnected before the response. Source: nginx, ngx_http_request.h."""


CLOSE: Final = ((b"connection", b"close"),)


class RequestLog:
    """ASGI middleware.

    Args:
        app: The inner application.
        metrics: Counts and times requests.
        tracing: Exports traces.
        is_leaving: Returns whether every answer closes its connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        tracing: Tracing = NO_TRACING,
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self.app = app
        self._metrics = metrics
        self._tracing = tracing
        self._is_leaving = is_leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request from its first to its last byte."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        reply = _Reply(send, scope, CLOSE if self._is_leaving() else ())
        trace = self._tracing.begin(dict(scope["headers"])) if self._tracing.is_on else NO_TRACE
        self._metrics.running_requests.inc()
        try:
            with use_trace(trace):
                await self.app(scope, receive, reply.send)
        except ServiceError as error:
            await self._answer(error, reply)
        except asyncio.CancelledError:  # only server shutdown cancels here; `RequestBody` handles disconnects
            await self._answer(Draining("The server stopped before this was done."), reply)
        except Exception as error:  # noqa: BLE001 - the outermost handler
            logger.exception("unexpected error", extra={"request_id": reply.request_id, "error": type(error).__name__})
            await self._answer(EngineError("Something went wrong inside the server; its log has the details."), reply)
        finally:
            self._metrics.running_requests.dec()
            self._finish(scope, reply, trace)

    async def _answer(self, error: ServiceError, reply: _Reply) -> None:
        reply.state.error = error.with_traceback(None)  # its frames reference the body and the scope
        if reply.status is not None:
            return  # too late: the response has started
        state = reply.state
        answer = errors.answer(error, request_id=reply.request_id, dialect=state.dialect, request_model=state.request_model)
        await reply.send_whole(answer.status, answer.headers, answer.body)

    def _finish(self, scope: Scope, reply: _Reply, trace: Trace) -> None:
        record = Record.of(scope)
        status = reply.status or CLIENT_CLOSED_REQUEST
        elapsed_s = time.perf_counter() - reply.started_s
        self._metrics.requests.labels(record.route, record.dialect, record.task, record.model, str(status)).inc()
        self._metrics.request_duration.labels(record.route, record.task, record.model).observe(elapsed_s)
        if record.refusal:
            self._metrics.rejected.labels(record.refusal).inc()
        if trace is not NO_TRACE:
            _end(trace, record, scope, reply.request_id, status)
        if logger.isEnabledFor(logging.DEBUG):
            what = {
                "request_id": reply.request_id,
                "method": scope["method"],
                "status": status,
                "ms": round(1000 * elapsed_s, 1),
            }
            logger.debug("request", extra=what | record.fields(scope))


def _end(trace: Trace, record: Record, scope: Scope, request_id: str, status: int) -> None:
    """End a trace with OpenTelemetry's attribute names, and Shortlist's for the rest.

    Source: OpenTelemetry, Semantic conventions for HTTP spans.
    """
    own = {f"shortlist.{name}": value for name, value in record.fields(scope).items() if name not in {"route", "error"}}
    theirs = {"http.request.method": scope["method"], "http.route": record.route, "http.response.status_code": status}
    failed = {"error.type": record.error} if record.error else {}
    name = f"{scope['method']} {record.route}"
    trace.end(name, {"shortlist.request_id": request_id, **theirs, **own, **failed}, has_failed=status >= 500)


class _Reply:
    """The response channel: adds the request id and other headers, and records status and start."""

    def __init__(self, send: Send, scope: Scope, more_headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._more_headers = more_headers
        self.request_id = _request_id(scope)
        self.state = state_of(scope)
        self.state.request_id = self.request_id
        self.started_s = time.perf_counter()
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            request_id = (b"x-request-id", self.request_id.encode())
            message["headers"] = [*message.get("headers", ()), request_id, *self._more_headers]
        await self._send(message)

    async def send_whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        pairs += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> str:
    sent = dict(scope["headers"]).get(b"x-request-id", b"")
    return sent.decode("ascii") if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
