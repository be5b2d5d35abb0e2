"""The memory of bodies and answers together: what fits, what waits, what never fits, and when free memory is returned."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message

from shortlist import allocator
from shortlist.api import memory_budget
from shortlist.api.memory_budget import LARGE_BYTES, MemoryBudget
from shortlist.api.request_state import state_of
from shortlist.api.routes import Answer
from shortlist.errors import Overloaded, RequestTooLarge
from tests.support.apps import runtime


async def test_claims_fit_together_or_are_refused() -> None:
    budget = MemoryBudget(100)
    with budget.claim() as first, budget.claim() as second:
        first.add(60)
        with pytest.raises(Overloaded):
            second.add(41)
        second.add(40)
    assert budget.num_bytes == 0


async def test_what_never_fits_is_too_large_instead_of_busy() -> None:
    with MemoryBudget(100).claim() as claim:
        claim.add(60)
        with pytest.raises(RequestTooLarge, match=r"100 bytes of memory \(max_transfer_bytes\)"):
            claim.add(41)
        with pytest.raises(RequestTooLarge):
            await claim.add_when_free(41, 10)


async def test_answer_waits_until_another_is_written() -> None:
    budget = MemoryBudget(100)
    with budget.claim() as second:
        with budget.claim() as first:
            first.add(60)
            waiting = asyncio.create_task(second.add_when_free(50, 60))
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
        assert budget.num_bytes == 50


async def test_answer_waits_no_longer_than_its_timeout() -> None:
    budget = MemoryBudget(100)
    with budget.claim() as first, budget.claim() as second:
        first.add(60)
        with pytest.raises(Overloaded):
            await second.add_when_free(50, 0.001)


async def test_large_requests_that_end_together_return_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[asyncio.Event] = []
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    monkeypatch.setattr(memory_budget, "TRIM_S", 0.01)

    def trim() -> None:
        trimmed.append(done)
        loop.call_soon_threadsafe(done.set)

    monkeypatch.setattr(allocator, "trim", trim)
    budget = MemoryBudget(10 * LARGE_BYTES)
    for num_bytes in (LARGE_BYTES - 1, LARGE_BYTES, 2 * LARGE_BYTES):
        with budget.claim() as claim:
            claim.add(num_bytes)
    await done.wait()
    assert len(trimmed) == 1


async def test_answer_is_built_when_there_is_memory_for_it() -> None:
    app, budget, built, sent = FastAPI(), MemoryBudget(1 << 20), list[str](), list[Message]()
    app.state.runtime = runtime()

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    def build() -> object:
        built.append("once")
        return {"a": 1}

    with budget.claim() as mine, budget.claim() as other:
        other.add(1 << 20)
        scope: dict[str, Any] = {"type": "http", "app": app}
        state_of(scope).claim = mine
        answering = asyncio.create_task(Answer(build, {}, 1 << 19)(scope, receive, send))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not built
        other.__exit__(None, None, None)
        await answering
    assert built == ["once"]
    assert sent[-1]["body"] == b'{"a":1}'
