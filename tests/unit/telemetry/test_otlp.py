"""Traces reach a collector as they happened; one that is sick, slow or gone costs nothing but a log line."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator

import pytest

from shortlist.errors import BadSetting
from shortlist.telemetry import otlp
from shortlist.telemetry.otlp import OtlpTracing
from shortlist.telemetry.traces import NO_TRACE
from tests.support.collector import Collector, collecting
from tests.support.serving import free_port

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SAMPLED = {b"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01".encode()}
NOT_SAMPLED = {b"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-00".encode()}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture
def tracing(collector: Collector) -> Iterator[OtlpTracing]:
    made = OtlpTracing(collector.url)
    yield made
    made.close()


def test_request_and_its_steps_arrive_as_one_trace(tracing: OtlpTracing, collector: Collector) -> None:
    before_ns = time.time_ns()
    trace = tracing.begin({})
    with trace.span("cache"):
        time.sleep(0.01)
    now_s = time.monotonic()
    trace.add_span("queue", now_s - 0.5, now_s - 0.25)
    trace.end("POST /v1/rerank", {"http.route": "/v1/rerank", "shortlist.items": 3}, has_failed=False)
    tracing.close()
    spans = {span.name: span for span in collector.spans}
    assert set(spans) == {"cache", "queue", "POST /v1/rerank"}
    whole, cache, queue = spans["POST /v1/rerank"], spans["cache"], spans["queue"]
    assert (whole.parent_id, cache.parent_id, queue.parent_id) == ("", whole.span_id, whole.span_id)
    assert len({span.trace_id for span in spans.values()}) == 1
    assert whole.attributes == {"http.route": "/v1/rerank", "shortlist.items": 3}
    assert before_ns - 10**6 <= whole.start_ns <= cache.start_ns <= cache.end_ns <= whole.end_ns
    assert cache.end_ns - cache.start_ns >= 10_000_000
    assert queue.end_ns - queue.start_ns == pytest.approx(250_000_000, rel=0.01)
    assert not whole.has_failed


def test_failure_is_marked(tracing: OtlpTracing, collector: Collector) -> None:
    tracing.begin({}).end("POST /v1/rerank", {}, has_failed=True)
    tracing.close()
    assert [span.has_failed for span in collector.spans] == [True]


def test_failing_stage_is_recorded_and_reraised(tracing: OtlpTracing, collector: Collector) -> None:
    trace = tracing.begin({})
    with pytest.raises(ZeroDivisionError), trace.span("cache"):
        raise ZeroDivisionError
    tracing.close()
    assert [span.name for span in collector.spans] == ["cache"]


# -- whose trace it is --------------------------------------------------------------------------------------------------


def test_callers_trace_is_continued(tracing: OtlpTracing, collector: Collector) -> None:
    tracing.begin(SAMPLED).end("request", {}, has_failed=False)
    tracing.close()
    [span] = collector.spans
    assert (span.trace_id, span.parent_id) == (TRACE_ID, PARENT_ID)


def test_caller_decides_whether_its_trace_is_kept(collector: Collector) -> None:
    for ratio, headers, is_kept in ((0.0, SAMPLED, True), (1.0, NOT_SAMPLED, False), (0.0, {}, False), (1.0, {}, True)):
        tracing = OtlpTracing(collector.url, sample_ratio=ratio)
        assert (tracing.begin(headers) is not NO_TRACE) is is_kept
        tracing.close()


@pytest.mark.parametrize("sent", [b"", b"00-0-0-01", b"\xff\xfe", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"x" * 9000])
def test_trace_that_is_none_begins_a_new_one(tracing: OtlpTracing, collector: Collector, sent: bytes) -> None:
    tracing.begin({b"traceparent": sent, b"tracestate": b"\xff=,,"}).end("request", {}, has_failed=False)
    tracing.close()
    [span] = collector.spans
    assert span.parent_id == ""


# -- a collector in trouble ---------------------------------------------------------------------------------------------


def ended(tracing: OtlpTracing, number: int = 1) -> None:
    for _ in range(number):
        tracing.begin({}).end("request", {}, has_failed=False)


def test_unreachable_collector_logs_one_line(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "PERIOD_S", 0.05)
    tracing = OtlpTracing(f"http://127.0.0.1:{free_port()}")
    started_s = time.monotonic()
    for _ in range(5):
        ended(tracing, 20)
        time.sleep(0.06)
    tracing.close()
    assert time.monotonic() - started_s < 30
    [record] = caplog.records
    assert (record.levelno, vars(record)["error"]) == (logging.WARNING, "ConnectError")


def test_refusing_collector_logs_one_line_per_outage(
    collector: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "PERIOD_S", 0.02)
    tracing = OtlpTracing(collector.url)
    for number, status in enumerate((503, 503, 200, 302), start=1):
        collector.status = status
        ended(tracing)
        collector.wait_for(number)
    tracing.close()
    assert [vars(record)["error"] for record in caplog.records] == ["status 503", "status 302"]


def test_collector_that_never_answers_holds_up_neither_requests_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(otlp, "CLOSE_S", 0.3)
    monkeypatch.setattr(otlp, "MAX_WAITING", 64)
    monkeypatch.setattr(otlp, "MAX_SENT", 16)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tracing = OtlpTracing(f"http://127.0.0.1:{listener.getsockname()[1]}")
        started_s = time.monotonic()
        ended(tracing, 3 * otlp.MAX_WAITING)
        tracing.close()
        assert time.monotonic() - started_s < 30, "it waited for a collector that never answers"


def test_closing_twice_is_harmless(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    tracing = OtlpTracing(collector.url)
    tracing.close()
    tracing.close()
    ended(tracing)
    assert [record for record in caplog.records if record.name == "shortlist"] == []


# -- the environment ----------------------------------------------------------------------------------------------------


def test_environment_of_others_changes_nothing(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://203.0.113.1:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=canary",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-own=canary",
        "OTEL_RESOURCE_ATTRIBUTES": "owner=canary",
        "OTEL_SERVICE_NAME": "canary",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0",
        "OTEL_BSP_MAX_QUEUE_SIZE": "0",
        "OTEL_PROPAGATORS": "none",
        "HTTP_PROXY": "http://203.0.113.1:3128",
        "http_proxy": "http://203.0.113.1:3128",
    }.items():
        monkeypatch.setenv(name, value)
    tracing = OtlpTracing(collector.url)
    tracing.begin(SAMPLED).end("request", {"a": 1}, has_failed=False)
    tracing.close()
    [span] = collector.spans
    assert (span.attributes, span.trace_id) == ({"a": 1}, TRACE_ID)
    assert b"canary" not in b"".join(collector.bodies)
    assert "canary" not in str(collector.headers)


def test_environment_that_forbids_traces_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with pytest.raises(BadSetting, match="OTEL_SDK_DISABLED"):
        OtlpTracing("http://127.0.0.1:1")
