"""The outermost layer: every request has a name, one answer, and one line in the count."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample
from starlette.types import Receive, Scope, Send

from shortlist.api.request_log import RequestLog
from shortlist.api.request_state import state_of
from shortlist.errors import Draining, EngineUnavailable, InvalidInput, Overloaded, ServiceError, Shortage
from shortlist.telemetry import Metrics
from tests.support.wire import Wire, http_scope

REQUESTS = "shortlist_requests_total"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def count(registry: CollectorRegistry, status: str, route: str = "other") -> float:
    labels = {"route": route, "status": status, "dialect": "", "task": "", "model": ""}
    return registry.get_sample_value(REQUESTS, labels) or 0.0


def total(registry: CollectorRegistry) -> float:
    return sum(sample.value for metric in registry.collect() for sample in metric.samples if sample.name == REQUESTS)


def running(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("shortlist_running_requests")


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body"})


# -- its name -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"a", b"A.b:c_d-1", b"x" * 128])
async def test_request_id_is_echoed_and_set_in_the_scope(metrics: Metrics, sent: bytes) -> None:
    scope, wire = http_scope((b"x-request-id", sent)), Wire()
    await RequestLog(fine, metrics=metrics)(scope, wire.receive, wire.send)
    assert wire.header(b"x-request-id") == sent
    assert state_of(scope).request_id == sent.decode()
    assert wire.header(b"x-own") == b"1"


@pytest.mark.parametrize("sent", [b"", b"a b", b"a\r\nset-cookie: b", b"x" * 129, b"\xff", "é".encode(), b"a\n", b"<a>"])
async def test_request_id_that_could_be_smuggled_is_replaced(metrics: Metrics, sent: bytes) -> None:
    wire = Wire()
    await RequestLog(fine, metrics=metrics)(http_scope((b"x-request-id", sent)), wire.receive, wire.send)
    given = wire.header(b"x-request-id")
    assert given is not None
    assert len(given) == 32
    assert given != sent


async def test_two_requests_have_two_ids(metrics: Metrics) -> None:
    wires = Wire(), Wire()
    for wire in wires:
        await RequestLog(fine, metrics=metrics)(http_scope(), wire.receive, wire.send)
    assert wires[0].header(b"x-request-id") != wires[1].header(b"x-request-id")


# -- its count ----------------------------------------------------------------------------------------------------------


async def test_answer_is_counted_and_timed_under_its_route(metrics: Metrics) -> None:
    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = type("Route", (), {"path": "/v1/models/{name}"})()
        await fine(scope, receive, send)

    wire = Wire()
    await RequestLog(routed, metrics=metrics)(http_scope(path="/v1/models/private-name"), wire.receive, wire.send)
    assert count(metrics.registry, "204", "/v1/models/{name}") == total(metrics.registry) == 1
    timed = metrics.registry.get_sample_value(
        "shortlist_request_duration_seconds_count", {"route": "/v1/models/{name}", "task": "", "model": ""}
    )
    assert timed == 1


async def test_unknown_path_adds_no_label(metrics: Metrics) -> None:
    for number in range(3):
        wire = Wire()
        await RequestLog(fine, metrics=metrics)(http_scope(path=f"/{number}"), wire.receive, wire.send)
    assert count(metrics.registry, "204") == total(metrics.registry) == 3


async def test_disconnected_request_is_counted_as_499(metrics: Metrics) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    wire = Wire()
    await RequestLog(silent, metrics=metrics)(http_scope(), wire.receive, wire.send)
    assert wire.sent == []
    assert count(metrics.registry, "499") == total(metrics.registry) == 1


async def test_request_counts_as_running_until_it_ends(metrics: Metrics) -> None:
    seen: list[float | None] = []

    async def looks(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(running(metrics))
        await fine(scope, receive, send)

    wire = Wire()
    await RequestLog(looks, metrics=metrics)(http_scope(), wire.receive, wire.send)
    assert seen == [1]
    assert running(metrics) == 0


async def test_request_leaves_one_log_line_with_its_id(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    with caplog.at_level(logging.DEBUG, "shortlist"):
        await RequestLog(fine, metrics=metrics)(http_scope((b"x-request-id", b"r-1")), wire.receive, wire.send)
    [record] = caplog.records
    fields = vars(record)
    assert (fields["request_id"], fields["status"], fields["route"], fields["method"]) == ("r-1", 204, "other", "POST")


async def test_request_log_lines_are_off_by_default(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    with caplog.at_level(logging.INFO, "shortlist"):
        await RequestLog(fine, metrics=metrics)(http_scope(), wire.receive, wire.send)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Overloaded("busy", retry_after_s=2, shortage=Shortage.CALLER_RATE), "caller_rate"), (Draining("later"), "draining")],
)
async def test_refusal_is_counted_by_its_reason(metrics: Metrics, error: ServiceError, reason: str) -> None:
    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    wire = Wire()
    await RequestLog(refuses, metrics=metrics)(http_scope(), wire.receive, wire.send)
    counted = {each.labels["reason"]: each.value for each in rejections(metrics)}
    assert {name for name, number in counted.items() if number} == {reason}


def rejections(metrics: Metrics) -> list[Sample]:
    [family] = metrics.rejected.collect()
    return [sample for sample in family.samples if sample.name.endswith("_total")]


# -- its errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidInput("wrong", param="query"), 400, "invalid_input"),
        (Overloaded("busy", retry_after_s=2), 429, "rate_limit_exceeded"),
        (EngineUnavailable("gone"), 503, "engine_unavailable"),
        (ServiceError("of no kind"), 500, "internal_error"),
        (ZeroDivisionError("canary"), 500, "engine_error"),
    ],
)
async def test_error_becomes_one_complete_response(metrics: Metrics, error: Exception, status: int, code: str) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    wire = Wire()
    await RequestLog(fails, metrics=metrics)(http_scope((b"x-request-id", b"r-1")), wire.receive, wire.send)
    assert wire.statuses == [status]
    body = json.loads(wire.body)
    assert (body["error"]["code"], body["request_id"]) == (code, "r-1")
    assert wire.header(b"content-length") == str(len(wire.body)).encode()
    assert b"canary" not in wire.body
    assert count(metrics.registry, str(status)) == total(metrics.registry) == 1
    assert running(metrics) == 0


@pytest.mark.parametrize("error", [InvalidInput("late"), ZeroDivisionError(), asyncio.CancelledError()])
async def test_error_after_the_answer_began_is_not_answered_again(metrics: Metrics, error: BaseException) -> None:
    async def fails_late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    wire = Wire()
    await RequestLog(fails_late, metrics=metrics)(http_scope(), wire.receive, wire.send)
    assert wire.statuses == [200]
    assert len(wire.sent) == 1
    assert count(metrics.registry, "200") == total(metrics.registry) == 1
    assert running(metrics) == 0


async def test_server_that_stops_tells_the_caller_so(metrics: Metrics) -> None:
    started = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await asyncio.Event().wait()

    wire = Wire()
    request = asyncio.create_task(RequestLog(waits, metrics=metrics)(http_scope(), wire.receive, wire.send))
    await started.wait()
    request.cancel()
    await asyncio.wait_for(request, 5)
    assert wire.statuses == [503]
    assert (wire.header(b"retry-after"), json.loads(wire.body)["error"]["code"]) == (b"1", "unavailable")
    assert running(metrics) == 0


async def test_bug_is_logged_with_its_traceback_and_the_requests_id(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    wire = Wire()
    with caplog.at_level(logging.ERROR, "shortlist"):
        await RequestLog(fails, metrics=metrics)(http_scope((b"x-request-id", b"r-1")), wire.receive, wire.send)
    [record] = caplog.records
    assert record.exc_info is not None
    assert (vars(record)["request_id"], vars(record)["error"]) == ("r-1", "ZeroDivisionError")


async def test_refusal_is_no_error_in_the_log(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        raise InvalidInput("wrong")

    wire = Wire()
    with caplog.at_level(logging.INFO, "shortlist"):
        await RequestLog(refuses, metrics=metrics)(http_scope(), wire.receive, wire.send)
    assert caplog.records == []


# -- other conversations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_conversations_pass_uncounted(metrics: Metrics, kind: str) -> None:
    seen: list[tuple[Scope, Receive, Send]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    wire, scope = Wire(), {"type": kind}
    receive, send = wire.receive, wire.send
    await RequestLog(app, metrics=metrics)(scope, receive, send)
    assert seen == [(scope, receive, send)]
    assert scope == {"type": kind}
    assert total(metrics.registry) == 0
