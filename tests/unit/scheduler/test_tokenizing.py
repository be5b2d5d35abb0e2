"""Tokenizing in threads: abandoned work stops at its next piece, and counts until then."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shortlist.errors import DeadlineExceeded
from shortlist.scheduler.tokenizing import THREADS, in_thread
from shortlist.text.reading import check_wanted, in_groups

PATIENCE_S = 30.0


class Endless:
    """Reads pieces without end; says when it has begun and when it was stopped."""

    def __init__(self) -> None:
        self.has_begun, self.was_stopped = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.has_begun.set()
        try:
            while True:
                check_wanted()
        except DeadlineExceeded:
            self.was_stopped.set()
            raise


async def test_result_and_error_are_those_of_the_function() -> None:
    assert await in_thread(lambda: 7, None) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0, 10.0)


async def test_deadline_stops_the_thread() -> None:
    work = Endless()
    with pytest.raises(DeadlineExceeded, match="deadline"):
        await in_thread(work, 0.05)
    assert work.was_stopped.is_set() or not work.has_begun.is_set()


async def test_cancelled_call_ends_when_the_thread_has_stopped() -> None:
    work = Endless()
    call = asyncio.create_task(in_thread(work, None))
    await asyncio.to_thread(work.has_begun.wait, PATIENCE_S)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call, PATIENCE_S)
    assert work.was_stopped.is_set()


async def test_others_are_not_stopped_with_it() -> None:
    work = Endless()
    call = asyncio.create_task(in_thread(work, None))
    await asyncio.to_thread(work.has_begun.wait, PATIENCE_S)
    with pytest.raises(DeadlineExceeded):
        await in_thread(Endless(), 0.01)
    assert not work.was_stopped.is_set()
    call.cancel()
    await asyncio.wait([call])


async def test_work_that_has_not_started_is_dropped() -> None:
    running = [Endless() for _ in range(THREADS._max_workers)]
    calls = [asyncio.create_task(in_thread(work, None)) for work in running]
    for work in running:
        await asyncio.to_thread(work.has_begun.wait, PATIENCE_S)
    waiting = Endless()
    with pytest.raises(DeadlineExceeded):
        await in_thread(waiting, 0.01)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert await in_thread(lambda: 7, PATIENCE_S) == 7
    assert not waiting.has_begun.is_set()


def test_groups_keep_the_order_and_are_bounded() -> None:
    texts = ["a" * number for number in range(20)]
    groups = list(in_groups(texts, 30))
    assert [text for group in groups for text in group] == texts
    assert all(len(group) == 1 or sum(map(len, group)) <= 30 for group in groups)
    assert list(in_groups([], 30)) == []
