"""What callers send stays between them and the model: not in logs, metrics, errors, or what settings show of themselves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from prometheus_client import generate_latest

from shortlist.errors import EngineError, EngineOutOfMemory, EngineUnavailable
from shortlist.logs import JsonFormatter, TextFormatter
from shortlist.service.runtime import Runtime
from shortlist.types import Batch
from tests.support.apps import http, runtime, settings
from tests.support.fake_engine import FakeEngine
from tests.support.process import serve
from tests.support.simulated import simulated
from tests.support.wire import Wire, http_scope

CANARY = "canary"
KEY = "canary-key"
QUERY, DOCUMENT, INSTRUCTION = "canary query", "canary document", "canary instruction"
ASK = {"query": QUERY, "documents": [DOCUMENT, "canary other"], "instruction": INSTRUCTION}
EMBED = {"input": [DOCUMENT, QUERY], "instruction": INSTRUCTION}


class Ear(logging.Handler):
    """Hears every logger, in both styles that a line can have, with all that is attached to it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.names: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.names.add(record.name.partition(".")[0])
        self.lines += [TextFormatter().format(record), JsonFormatter().format(record), repr(record.args)]


@pytest.fixture
def ear() -> Iterator[Ear]:
    """Everything at DEBUG, from every logger: Shortlist's, the event loop's, the HTTP server's, the client's."""
    listening = Ear()
    known = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    before = [(each, each.level, each.propagate, each.disabled) for each in [logging.root, *known]]
    for each, *_ in before:
        each.setLevel(logging.DEBUG)
        each.propagate = True
        each.disabled = False
    logging.root.addHandler(listening)
    yield listening
    logging.root.removeHandler(listening)
    for each, level, propagate, disabled in before:
        each.level, each.propagate, each.disabled = level, propagate, disabled
        each.setLevel(level)


def everything(ear: Ear, service: Runtime) -> str:
    return "\n".join(
        [*ear.lines, generate_latest(service.metrics.registry).decode(), repr(service.settings), str(service.settings)]
    )


Send = Callable[[httpx2.AsyncClient], Coroutine[Any, Any, httpx2.Response]]


def post(body: object, path: str = "/v1/rerank", **headers: str) -> Send:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}

    async def send(client: httpx2.AsyncClient) -> httpx2.Response:
        return await client.post(path, content=content, headers={"authorization": f"Bearer {KEY}", **names})

    return send


def raising(error: Exception) -> Callable[[Batch], None]:
    def fault(_: Batch) -> None:
        raise error

    return fault


class NotFinite(FakeEngine):
    async def score(self, batch: Batch) -> list[float]:
        return [float("nan") for _ in batch.items]


CALLS: dict[str, tuple[int, Send]] = {
    "ranked": (200, post(ASK)),
    "ranked, documents as objects": (
        200,
        post({"query": {"text": QUERY}, "documents": [{"a": DOCUMENT, "b": DOCUMENT}], "rank_fields": ["a", "b"]}),
    ),
    "ranked, instruction elsewhere": (200, post({**ASK, "chat_template_kwargs": {"instruction": INSTRUCTION}})),
    "cut": (200, post({**ASK, "documents": [f"{DOCUMENT} " * 100]})),
    "embedded": (200, post(EMBED, "/v1/embeddings")),
    "no key": (401, post(ASK, authorization="")),
    "wrong key": (401, post(ASK, authorization="Bearer canary-wrong")),
    "wrong key, basic": (401, post(ASK, authorization="Basic Y2FuYXJ5OmNhbmFyeQ==")),
    "wrong key, other headers": (401, post(ASK, authorization="", x_api_key="canary-x", api_key="canary-y")),
    "unknown model": (404, post({**ASK, "model": "canary-model"})),
    "unknown model to embed": (404, post({**EMBED, "model": "canary-model"}, "/v1/embeddings")),
    "no JSON": (400, post(b"canary")),
    "broken JSON": (400, post(b'{"query": "canary')),
    "broken text": (400, post(b'{"query": "canary\xff", "documents": ["canary"]}')),
    "not an object": (400, post(["canary"])),
    "wrong types": (400, post({"query": QUERY, "documents": [{"canary": DOCUMENT}]})),
    "wrong number": (400, post({**ASK, "top_n": "canary"})),
    "wrong choice": (400, post({**EMBED, "encoding_format": "canary"}, "/v1/embeddings")),
    "wrong fields": (400, post({**ASK, "documents": [{"a": DOCUMENT}], "rank_fields": ["canary"]})),
    "wrong template": (400, post({**ASK, "chat_template_kwargs": {"instruction": ["canary"]}})),
    "token ids": (400, post({"input": [["canary"]]}, "/v1/embeddings")),
    "too many": (400, post({**ASK, "documents": [DOCUMENT] * 40})),
    "too many dimensions": (400, post({**EMBED, "dimensions": 9}, "/v1/embeddings")),
    "too long": (400, post({**ASK, "documents": [f"{DOCUMENT} " * 100], "truncation": False})),
    "too large": (413, post({**ASK, "documents": [DOCUMENT * 1000]})),
    "compressed": (415, post(b"canary", content_encoding="canary")),
    "too late": (504, post({**ASK, "timeout_ms": 1})),
    "unknown path": (404, post(ASK, "/v1/nothing")),
    "wrong method": (405, post(ASK, "/v1/models")),
}

FAULTS: dict[str, tuple[int, FakeEngine]] = {
    "engine fails": (500, FakeEngine(fault=raising(EngineError("The step failed.")))),
    "out of memory": (500, FakeEngine(fault=raising(EngineOutOfMemory("It did not fit.")))),
    "not finite": (500, NotFinite()),
    "engine quotes what it choked on": (500, FakeEngine(fault=raising(ValueError(f"cannot digest {DOCUMENT!r}")))),
    "engine breaks": (500, FakeEngine(fault=raising(ZeroDivisionError()))),
    "engine dies": (503, FakeEngine(fault=raising(EngineUnavailable("It died.")))),
}

LIMITS = {"api_key": [KEY, "canary-second"], "max_client_batch_size": 32, "max_body_bytes": 10_000, "log_level": "debug"}


@asynccontextmanager
async def apps(engine: FakeEngine | None = None) -> AsyncIterator[tuple[httpx2.AsyncClient, Runtime]]:
    service = runtime(engine or FakeEngine(), **LIMITS)
    service._registry.served_models[0].encoder.max_model_len = 64  # type: ignore[attr-defined]
    async with http(service) as client:
        yield client, service


@pytest.mark.parametrize("name", CALLS)
async def test_no_call_leaves_its_words_anywhere(ear: Ear, name: str) -> None:
    status, send = CALLS[name]
    async with apps(FakeEngine(step_s=0.05 if name == "too late" else 0.0)) as (client, service):
        response = await send(client)
        assert response.status_code == status
        assert CANARY not in everything(ear, service)
    assert "shortlist" in ear.names, "nothing was heard"
    if status == 200:
        assert CANARY not in str(response.headers)
        response = await _without_documents(send)
    assert CANARY not in response.text + str(response.headers)


async def _without_documents(send: Send) -> httpx2.Response:
    """Ask the same again, for numbers only: what comes back then must hold no words at all."""

    class NumbersOnly(httpx2.AsyncClient):
        async def post(self, url: str, *, content: bytes, headers: dict[str, str]) -> httpx2.Response:  # type: ignore[override]
            return await super().post(
                url, content=json.dumps({**json.loads(content), "return_documents": False}), headers=headers
            )

    async with apps() as (client, _), NumbersOnly(transport=client._transport, base_url="http://localhost") as other:
        return await send(other)


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize(("body", "path"), [(ASK, "/v1/rerank"), (EMBED, "/v1/embeddings")], ids=["rerank", "embed"])
async def test_no_failure_of_the_engine_leaves_words_anywhere(ear: Ear, name: str, body: object, path: str) -> None:
    status, engine = FAULTS[name]
    async with apps(engine) as (client, service):
        response = await post(body, path)(client)
        assert response.status_code == (200 if name == "not finite" and path == "/v1/embeddings" else status)
        assert CANARY not in everything(ear, service)
    assert CANARY not in response.text + str(response.headers)


@simulated
async def test_no_overload_leaves_words_anywhere(ear: Ear) -> None:
    service = runtime(FakeEngine(step_s=0.05), max_concurrent_requests=1, api_key=[KEY])
    async with http(service) as client:
        responses = await asyncio.gather(post(ASK)(client), post({**ASK, "query": f"{QUERY} 2"})(client))
        assert sorted(response.status_code for response in responses) == [200, 429]
        assert CANARY not in everything(ear, service)
    assert all(CANARY not in response.text for response in responses if response.status_code == 429)


async def test_no_hang_up_leaves_words_anywhere(ear: Ear) -> None:
    engine = FakeEngine(step_s=0.05)
    service = runtime(engine, api_key=[KEY])
    async with http(service) as client:
        task = asyncio.create_task(post(ASK)(client))
        async with asyncio.timeout(5):
            while not engine.batches:  # noqa: ASYNC110 - the engine announces nothing
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert CANARY not in everything(ear, service)


@pytest.mark.parametrize("path", ["/canary", "/v1/models/canary", "/ui/canary", "/docs/static/canary.js"])
async def test_path_stays_out_of_logs_and_metrics(ear: Ear, path: str) -> None:
    from shortlist.api.app import create_app

    service = runtime()
    wire = Wire()
    scope = {**http_scope(method="GET", path=path), "query_string": b"q=canary", "root_path": ""}
    await create_app(service)(scope, wire.receive, wire.send)
    assert wire.statuses == [404]
    assert CANARY not in everything(ear, service) + wire.body.decode()


async def test_real_server_at_debug_level_logs_no_texts(ear: Ear) -> None:
    service = runtime(**LIMITS)
    with serve(service) as server:
        for name in list(logging.root.manager.loggerDict):
            if name.startswith("uvicorn"):
                each = logging.getLogger(name)
                each.setLevel(logging.DEBUG)
                each.propagate = True
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as client:
            for status, send in CALLS.values():
                response = await send(client)
                assert response.status_code in {status, 200}
        with server.connect() as wire:
            wire.sendall(b"CANARY canary nonsense\r\ncanary\r\n\r\n")
            wire.recv(1000)
        assert CANARY not in everything(ear, service).lower()
    assert {"shortlist", "uvicorn", "asyncio"} <= ear.names


def test_settings_show_no_key_in_any_form() -> None:
    asked = settings(api_key=[KEY, "canary-second"])
    shown = [
        repr(asked),
        str(asked),
        asked.model_dump_json(),
        repr(asked.model_dump()),
        repr(asked.server),
        f"{asked.server.api_key}",
    ]
    assert CANARY not in "".join(shown)
    assert len(asked.server.api_key) == 2
