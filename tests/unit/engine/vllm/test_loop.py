"""A loop on a thread of its own serves callers with any loop, or none, until it is closed."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shortlist.engine.vllm.loop import LoopThread
from shortlist.errors import EngineUnavailable


async def where() -> int:
    return threading.get_ident()


async def test_loop_runs_in_another_thread() -> None:
    loop = LoopThread("test")
    assert await asyncio.wrap_future(loop.start(where())) != threading.get_ident()
    loop.close()


def test_callers_without_a_loop_get_the_result_or_the_error() -> None:
    async def fails() -> None:
        raise ValueError("no")

    loop = LoopThread("test")
    assert loop.run(where()) > 0
    with pytest.raises(ValueError, match="no"):
        loop.run(fails())
    loop.close()


def test_closing_cancels_running_tasks_and_refuses_new() -> None:
    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    loop = LoopThread("test")
    future = loop.start(forever())
    loop.run(asyncio.sleep(0))
    loop.close()
    loop.close()
    assert ended.is_set()
    assert future.cancelled()
    with pytest.raises(EngineUnavailable):
        loop.start(where())


async def test_cancelling_the_caller_cancels_its_task() -> None:
    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    loop = LoopThread("test")
    call = asyncio.ensure_future(asyncio.wrap_future(loop.start(forever())))
    await asyncio.sleep(0.01)
    call.cancel()
    assert await asyncio.to_thread(ended.wait, 5)
    loop.close()
