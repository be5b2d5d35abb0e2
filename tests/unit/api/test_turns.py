"""Between two long steps of a large request, a small one runs from its connection to its answer."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import Message

from shortlist.api import json_body
from shortlist.api.json_body import INLINE_BYTES, read_json
from shortlist.api.memory_budget import MemoryBudget
from shortlist.api.request_state import state_of
from shortlist.api.routes import Answer
from tests.support.apps import runtime

TURNS = 5


async def small_request() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_one_runs_after_a_large_body_was_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    small: list[asyncio.Task[None]] = []

    class Parser:
        JSONDecodeError = orjson.JSONDecodeError

        @staticmethod
        def loads(body: bytes) -> Any:
            small.append(asyncio.ensure_future(small_request()))
            return orjson.loads(body)

    async def receive() -> Message:
        return {"type": "http.request", "body": b'{"query": "' + b"a" * INLINE_BYTES + b'"}', "more_body": False}

    monkeypatch.setattr(json_body, "orjson", Parser)
    await read_json(Request({"type": "http", "method": "POST", "headers": []}, receive))
    assert small[0].done()


async def test_one_runs_before_a_large_answer_is_built() -> None:
    app, was_done = FastAPI(), list[bool]()
    app.state.runtime = runtime()
    small = asyncio.ensure_future(small_request())

    async def send(message: Message) -> None:
        del message

    async def receive() -> Message:
        raise AssertionError

    with MemoryBudget(4 * INLINE_BYTES).claim() as claim:
        scope: dict[str, Any] = {"type": "http", "app": app}
        state_of(scope).claim = claim
        await Answer(lambda: was_done.append(small.done()), {}, 2 * INLINE_BYTES)(scope, receive, send)
    assert was_done == [True]
