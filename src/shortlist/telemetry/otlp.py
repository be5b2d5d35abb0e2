"""Exports traces by OTLP over HTTP, with OpenTelemetry's spans, sampling and encoding.

Ended spans wait in a bounded queue, which drops the oldest, and a thread sends them. Spans that the collector does not accept
are lost: a slow or failing collector costs one log line. OpenTelemetry's environment variables, which could add foreign headers
or certificates unseen, are not read; its own exporter reads them, so it is not used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import httpx2
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shortlist.errors import BadSetting
from shortlist.telemetry import logger
from shortlist.telemetry.traces import NO_TRACE, Attribute, Trace

TRACES_PATH: Final = "/v1/traces"
"""Source: the OTLP specification, "OTLP/HTTP Request"."""

MAX_WAITING: Final = 4096
"""Maximum queued spans; a request has about six."""

MAX_SENT: Final = 512
"""Maximum spans in one export."""

PERIOD_S: Final = 1.0
"""Maximum delay between the end of a request and the export of its trace."""

TIMEOUT_S: Final = 2.0
CLOSE_S: Final = 1.0
"""Maximum export time at shutdown."""

CONTEXT_HEADERS: Final = (b"traceparent", b"tracestate")
"""Source: W3C, Trace Context."""

LIMITS: Final = SpanLimits(
    max_attributes=32,
    max_events=1,
    max_links=1,
    max_span_attributes=32,
    max_event_attributes=1,
    max_link_attributes=1,
    max_attribute_length=256,
    max_span_attribute_length=256,
)
"""Far above what Shortlist records; explicit, so that environment variables have no effect."""


class OtlpTracing:
    """Implements `telemetry.traces.Tracing`.

    Args:
        endpoint: The collector's address, without the traces path.
        sample_ratio: Fraction of requests to trace, among those without an incoming sampling decision.

    Raises:
        BadSetting: The environment disables OpenTelemetry.
    """

    is_on = True

    def __init__(self, endpoint: str, *, sample_ratio: float = 1.0) -> None:
        self._exporter = _Exporter(endpoint)
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(sample_ratio),
            resource=Resource({"service.name": "shortlist"}),
            shutdown_on_exit=False,
            span_limits=LIMITS,
        )
        self._tracer = self._provider.get_tracer("shortlist")
        if isinstance(self._tracer, NoOpTracer):
            raise BadSetting(
                "otlp_endpoint (--otlp-endpoint) is set, but OTEL_SDK_DISABLED disables traces; unset one of them."
            )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=MAX_WAITING,
                schedule_delay_millis=1000 * PERIOD_S,
                max_export_batch_size=MAX_SENT,
                export_timeout_millis=1000 * TIMEOUT_S,
            )
        )
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        """Return a trace, or `NO_TRACE` if the request is not sampled."""
        carrier = {name.decode(): headers[name].decode("latin-1") for name in CONTEXT_HEADERS if name in headers}
        context = self._propagator.extract(carrier, context=Context())
        now_s = time.monotonic()
        span = self._tracer.start_span("request", context, kind=SpanKind.SERVER, start_time=_epoch_ns(now_s))
        return _OtlpTrace(self._tracer, span) if span.is_recording() else NO_TRACE

    def close(self) -> None:
        """Export queued spans for at most `CLOSE_S`."""
        self._exporter.hurry()
        self._provider.shutdown()


class _OtlpTrace:
    """Implements `telemetry.traces.Trace`."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._inside = set_span_in_context(span, Context())

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        started_s = time.monotonic()
        try:
            yield
        finally:
            self.add_span(name, started_s, time.monotonic())

    def add_span(self, name: str, started_s: float, ended_s: float) -> None:
        self._tracer.start_span(name, self._inside, start_time=_epoch_ns(started_s)).end(_epoch_ns(ended_s))

    def end(self, name: str, attributes: Mapping[str, Attribute], *, has_failed: bool) -> None:
        self._span.update_name(name)
        self._span.set_attributes(attributes)
        if has_failed:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class _Exporter(SpanExporter):
    """Sends each span once."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._http = httpx2.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False)
        self._until_s = float("inf")
        self._is_answered = True

    def hurry(self) -> None:
        """Limit further exports to `CLOSE_S` from now."""
        self._until_s = min(self._until_s, time.monotonic() + CLOSE_S)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        left_s = self._until_s - time.monotonic()
        failure = self._send(encode_spans(spans).SerializeToString(), min(left_s, TIMEOUT_S)) if left_s > 0 else None
        if failure is not None and self._is_answered:
            why = {"collector": self._endpoint, "error": failure}
            logger.warning("trace collector failing; traces are dropped", extra=why)
        self._is_answered = failure is None
        return SpanExportResult.SUCCESS if failure is None else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._http.close()

    def _send(self, body: bytes, timeout_s: float) -> str | None:
        """Send a body; return the failure, or None."""
        try:
            headers = {"content-type": "application/x-protobuf"}
            response = self._http.post(self._endpoint + TRACES_PATH, content=body, headers=headers, timeout=timeout_s)
        except (httpx2.HTTPError, RuntimeError) as error:  # RuntimeError: the client was closed meanwhile
            return type(error).__name__
        return None if response.is_success else f"status {response.status_code}"


def _epoch_ns(reading_s: float) -> int:
    """Convert a reading of `time.monotonic` to nanoseconds since 1970, using the current clocks."""
    return time.time_ns() - int(1e9 * (time.monotonic() - reading_s))
