"""What one request leaves behind: counts, a trace, a log line; with names, numbers and times, and never a text."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from shortlist import __version__
from shortlist.errors import EngineError, EngineUnavailable
from shortlist.logs import configure_logging
from shortlist.service.runtime import Runtime
from shortlist.telemetry import Metrics, logger
from shortlist.telemetry.gpu import GpuCollector, GpuReading
from shortlist.telemetry.otlp import OtlpTracing
from shortlist.types import Batch
from tests.support.apps import http, runtime, served, settings
from tests.support.collector import Collector, SpanSeen, collecting
from tests.support.fake_engine import FakeEngine
from tests.support.process import wait_until
from tests.support.serving import free_port
from tests.support.words import WordEncoder

ASK: dict[str, object] = {"query": "canary query", "documents": ["canary one", "canary two", "canary one"]}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01", "x-request-id": "r-1"}


def fail(batch: Batch) -> None:
    raise EngineError("It failed.")


# -- counts -------------------------------------------------------------------------------------------------------------


async def counted(*asked: tuple[str, dict[str, object]], engine: FakeEngine | None = None, **flat: object) -> Any:
    """Return what looks up a sample after these requests."""
    service = runtime(*([engine] if engine else []), **flat)
    async with http(service) as client:
        for path, body in asked:
            await client.post(path, json=body)
        await client.get("/metrics")
    return service.metrics.registry.get_sample_value


async def test_request_is_counted_by_dialect_task_and_model() -> None:
    value = await counted(
        ("/v1/rerank", ASK),
        ("/v2/rerank", ASK),
        ("/rerank", {"query": "a", "texts": ["b"]}),
        ("/v1/score", {"text_1": "a", "text_2": "b"}),
        ("/v1/embeddings", {"input": "a"}),
    )
    for route, dialect, task in (
        ("/v1/rerank", "superset", "rerank"),
        ("/v2/rerank", "superset", "rerank"),
        ("/rerank", "tei", "rerank"),
        ("/v1/score", "vllm", "score"),
        ("/v1/embeddings", "openai", "embed"),
    ):
        labels = {"route": route, "task": task, "model": "fake"}
        assert value("shortlist_requests_total", {**labels, "dialect": dialect, "status": "200"}) == 1, route
        assert value("shortlist_request_duration_seconds_count", labels) == 1


async def test_queue_delay_is_that_of_the_moment_of_a_scrape() -> None:
    one = served()
    async with http(Runtime([one], settings=settings(), metrics=one.metrics)) as client:

        async def shown() -> float:
            page = (await client.get("/metrics")).text
            [line] = [line for line in page.splitlines() if line.startswith('shortlist_queue_delay_seconds{model="fake"}')]
            return float(line.split()[-1])

        assert await shown() == 0
        one.admission.observe(100, 1.0)
        with one.admission.admit(250):
            assert await shown() == pytest.approx(2.5)
        assert await shown() == 0


async def test_name_that_a_request_makes_up_is_no_label() -> None:
    service = runtime()
    async with http(service) as client:
        for name in ("canary", "x" * 300, "a%0Ab"):
            await client.post("/v1/rerank", json={**ASK, "model": name, "user": name})
            await client.post(f"/{name}", json=ASK)
            await client.request("CANARY", "/v1/rerank")
        text = (await client.get("/metrics")).text
    assert "canary" not in text.lower()
    assert "xxx" not in text


async def test_refusal_is_counted_by_the_limit_reached() -> None:
    service = runtime(FakeEngine(step_s=30), max_concurrent_requests=1)
    async with http(service) as client:
        first = asyncio.create_task(client.post("/v1/rerank", json=ASK))
        await asyncio.to_thread(wait_until, lambda: service.num_running > 0)
        assert (await client.post("/v1/rerank", json={**ASK, "query": "another"})).status_code == httpx2.codes.TOO_MANY_REQUESTS
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    value = service.metrics.registry.get_sample_value
    assert value("shortlist_rejected_total", {"reason": "too_many_requests"}) == 1


async def test_caller_limits_are_counted_separately() -> None:
    value = await counted(*[("/v1/rerank", ASK)] * 3, max_requests_per_minute=1)
    assert value("shortlist_rejected_total", {"reason": "caller_rate"}) == 2


async def test_running_items_are_shown_only_during_the_batch() -> None:
    seen: list[float | None] = []
    service = runtime(FakeEngine(fault=lambda _: seen.append(running())))

    def running() -> float | None:
        return service.metrics.registry.get_sample_value("shortlist_running_items", {"model": "fake"})

    async with http(service) as client:
        await client.post("/v1/rerank", json=ASK)
    assert seen == [2]
    assert running() == 0


async def test_model_is_ready_until_its_engine_is_gone() -> None:
    def die(batch: Batch) -> None:
        raise EngineUnavailable("It died.")

    service = runtime(FakeEngine(fault=die))
    async with http(service) as client:
        assert service.metrics.registry.get_sample_value("shortlist_model_ready", {"model": "fake"}) == 1
        await client.post("/v1/rerank", json=ASK)
        await asyncio.wait_for(service.failed.wait(), 5)
        assert service.metrics.registry.get_sample_value("shortlist_model_ready", {"model": "fake"}) == 0


async def test_slow_gpu_reading_does_not_delay_requests() -> None:
    asked, answers = threading.Event(), threading.Event()

    def read() -> list[GpuReading]:
        asked.set()
        assert answers.wait(10)
        return []

    service = runtime()
    service.metrics.registry.register(GpuCollector(read))
    async with http(service) as client:
        scrape = asyncio.ensure_future(client.get("/metrics"))
        await asyncio.to_thread(asked.wait, 10)
        assert (await client.post("/v1/rerank", json=ASK)).status_code == 200
        assert not scrape.done()
        answers.set()
        assert (await scrape).status_code == 200


async def test_release_is_shown() -> None:
    async with http(runtime()) as client:
        assert 'shortlist_build_info{python="3.' in (await client.get("/metrics")).text
        assert f'version="{__version__}"}} 1.0' in (await client.get("/metrics")).text


async def test_others_names_are_shown_if_they_are_asked_for() -> None:
    async with http(runtime()) as client:
        assert "te_" not in (await client.get("/metrics")).text
    async with http(runtime(metrics_compat="tei,vllm,http")) as client:
        await client.post("/v1/rerank", json=ASK)
        text = (await client.get("/metrics")).text
    assert "te_predict_count 1.0" in text
    assert 'vllm:prefix_cache_queries_total{engine="0",model_name="fake"} 2.0' in text
    assert 'http_requests_total{handler="/v1/rerank",method="POST",status="2xx"} 1.0' in text


@pytest.mark.parametrize(("is_public", "status"), [(False, 401), (True, 200)])
async def test_metrics_are_public_only_if_that_was_said(is_public: bool, status: int) -> None:
    async with http(runtime(api_key=["key"], public_metrics=is_public)) as client:
        assert (await client.get("/metrics")).status_code == status
        assert (await client.get("/v1/models")).status_code == httpx2.codes.UNAUTHORIZED
        assert (await client.get("/metrics", headers={"x-api-key": "key"})).status_code == httpx2.codes.OK


# -- traces -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traced:
    """A server that sends traces, and who takes them."""

    client: httpx2.AsyncClient
    collector: Collector
    service: Runtime


@contextlib.asynccontextmanager
async def traced(engine: FakeEngine | None = None, *, endpoint: str | None = None) -> AsyncIterator[Traced]:
    with collecting() as collector:
        metrics = Metrics()
        one = served(engine or FakeEngine(step_s=0.02), metrics=metrics)
        tracing = OtlpTracing(endpoint or collector.url)
        service = Runtime([one], settings=settings(), metrics=metrics, tracing=tracing)
        async with http(service) as client:
            yield Traced(client, collector, service)


def by_name(spans: list[SpanSeen]) -> dict[str, SpanSeen]:
    found = {span.name: span for span in spans}
    assert len(found) == len(spans)
    return found


async def test_request_is_traced_through_its_steps_and_carries_on_its_callers_trace() -> None:
    async with traced() as server:
        await server.client.post("/v1/rerank", json=ASK, headers=CALLER)
    spans = by_name(server.collector.spans)
    whole = spans.pop("POST /v1/rerank")
    assert sorted(spans, key=lambda name: spans[name].start_ns) == ["cache", "tokenize", "queue", "inference"]
    assert {span.parent_id for span in spans.values()} == {whole.span_id}
    assert {span.trace_id for span in (whole, *spans.values())} == {TRACE_ID}
    assert whole.parent_id == "b7ad6b7169203331"
    assert whole.start_ns <= min(span.start_ns for span in spans.values())
    assert whole.end_ns >= max(span.end_ns for span in spans.values())
    inference = spans["inference"]
    assert inference.end_ns - inference.start_ns >= 20_000_000


async def test_trace_has_the_fields_of_the_log_line_and_no_text() -> None:
    async with traced() as server:
        await server.client.post("/v1/rerank", json=ASK, headers=CALLER)
    whole = by_name(server.collector.spans)["POST /v1/rerank"].attributes
    times = {name for name in whole if name.endswith("_ms")}
    assert times == {"shortlist.tokenize_ms", "shortlist.queue_ms", "shortlist.compute_ms"}
    assert {name: value for name, value in whole.items() if name not in times} == {
        "http.request.method": "POST",
        "http.route": "/v1/rerank",
        "http.response.status_code": 200,
        "shortlist.request_id": "r-1",
        "shortlist.dialect": "superset",
        "shortlist.task": "rerank",
        "shortlist.model": "fake",
        "shortlist.items": 3,
        "shortlist.tokens": 15,
        "shortlist.cached": 0,
    }
    assert b"canary" not in b"".join(server.collector.bodies)


async def test_request_that_is_remembered_has_no_more_steps() -> None:
    async with traced() as server:
        await server.client.post("/v1/rerank", json=ASK)
        await server.client.post("/v1/rerank", json=ASK, headers=CALLER)
    spans = by_name([span for span in server.collector.spans if span.trace_id == TRACE_ID])
    assert set(spans) == {"POST /v1/rerank", "cache"}
    assert spans["POST /v1/rerank"].attributes["shortlist.cached"] == 3


async def test_joined_request_is_traced_as_joined() -> None:
    async with traced(FakeEngine(step_s=0.2)) as server:
        await asyncio.gather(*(server.client.post("/v1/rerank", json=ASK) for _ in range(2)))
    names = [span.name for span in server.collector.spans]
    assert (names.count("join"), names.count("inference")) == (1, 1)


async def test_failure_is_in_the_trace() -> None:
    async with traced(FakeEngine(fault=fail)) as server:
        assert (await server.client.post("/v1/rerank", json=ASK)).status_code == httpx2.codes.INTERNAL_SERVER_ERROR
        assert (await server.client.post("/v1/rerank", json={})).status_code == httpx2.codes.BAD_REQUEST
    failed, refused = sorted(
        (span for span in server.collector.spans if span.name == "POST /v1/rerank"), key=lambda span: span.start_ns
    )
    assert (failed.has_failed, failed.attributes["error.type"]) == (True, "EngineError")
    assert (refused.has_failed, refused.attributes["error.type"]) == (False, "InvalidInput")


async def test_failing_collector_does_not_fail_requests() -> None:
    async with traced(endpoint=f"http://127.0.0.1:{free_port()}") as server:
        answers = [await server.client.post("/v1/rerank", json={**ASK, "query": f"{n}"}) for n in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert server.collector.spans == []


async def test_without_a_collector_nothing_is_kept() -> None:
    service = runtime()
    async with http(service) as client:
        assert (await client.post("/v1/rerank", json=ASK, headers=CALLER)).status_code == httpx2.codes.OK
    assert not service.tracing.is_on


# -- log lines ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """Everything that is logged, from debug on, in the style for machines."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logger.level
    stream = io.StringIO()
    configure_logging(level="debug", style="json", stream=stream)
    yield stream
    root.handlers[:], root.level, logger.level = before


def lines(said: io.StringIO) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in said.getvalue().splitlines()]
    return [line for line in found if line["message"] == "request"]


async def test_every_request_has_one_line_with_all_that_is_known_of_it(said: io.StringIO) -> None:
    async with http(runtime()) as client:
        for _ in range(2):
            await client.post("/v1/rerank", json=ASK, headers=CALLER)
    first, again = lines(said)
    times = {name: first.pop(name) for name in ("time", "ms", "tokenize_ms", "queue_ms", "compute_ms")}
    assert all(time >= 0 for name, time in times.items() if name != "time")
    assert first == {
        "level": "debug",
        "logger": "shortlist",
        "message": "request",
        "request_id": "r-1",
        "method": "POST",
        "route": "/v1/rerank",
        "status": 200,
        "dialect": "superset",
        "task": "rerank",
        "model": "fake",
        "items": 3,
        "tokens": 15,
        "cached": 0,
    }
    assert again["cached"] == 3
    assert "canary" not in said.getvalue()


async def test_log_line_has_the_error(said: io.StringIO) -> None:
    metrics = Metrics()
    short = served(FakeEngine(fault=fail), WordEncoder(max_model_len=4), metrics=metrics)
    async with http(Runtime([short], settings=settings(max_client_batch_size=3), metrics=metrics)) as client:
        await client.post("/v1/rerank", json=ASK)
        await client.post("/v1/rerank", json={**ASK, "documents": ["canary"] * 4})
        await client.post("/v1/canary", json=ASK)
        await client.post("/v1/rerank", content=b"canary")
    failed, many, nowhere, broken = lines(said)
    assert (failed["error"], failed["status"], failed["items"]) == ("EngineError", 500, 3)
    assert (many["error"], many["status"], many["items"]) == ("TooManyItems", 400, 4)
    assert (nowhere["error"], nowhere["status"], nowhere["route"]) == ("NotFound", 404, "other")
    assert (broken["error"], broken["status"]) == ("InvalidInput", 400)
    assert "canary" not in said.getvalue()


async def test_log_line_counts_truncated_and_failed_documents(said: io.StringIO) -> None:
    def fail_one(batch: Batch) -> None:
        if any("#fail" in str(item.prompt) for item in batch.items):
            raise EngineError("It failed.")

    metrics = Metrics()
    short = served(FakeEngine(fault=fail_one), WordEncoder(max_model_len=4), metrics=metrics)
    async with http(Runtime([short], settings=settings(), metrics=metrics)) as client:
        await client.post("/v1/rerank", json={"query": "a", "documents": ["b " * 20, "#fail", "c"]})
    [line] = lines(said)
    assert (line["truncated"], line["failed"], line["status"]) == (1, 1, 200)
