"""Streams with bounded concurrency: number of pending requests, order of answers, cleanup."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing

import pytest

from shortlist.client.stream import blocking_stream, stream
from shortlist.errors import InvalidInput


class Door:
    """Answers an item on demand, and counts pending items."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[None]] = {}
        self.most = 0
        self.cancelled: list[int] = []

    async def ask(self, item: int) -> int:
        self.waiting[item] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.waiting))
        try:
            await self.waiting[item]
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        del self.waiting[item]
        return item * 10

    async def open(self, *items: int, among: int = 1) -> None:
        """Answer these items, each once it is pending along with `among` items in total."""
        for item in items:
            await until(lambda item=item: item in self.waiting and len(self.waiting) >= among)  # type: ignore[misc]
            self.waiting[item].set_result(None)
            await settle()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("the condition did not become true")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_ordered_answers_keep_the_order_of_the_items() -> None:
    door = Door()
    opening = asyncio.create_task(door.open(2, 1, 0))
    answers = [answered async for answered in stream(door.ask, range(3), concurrency=3)]
    assert answers == [(0, 0, 0), (1, 1, 10), (2, 2, 20)]
    await opening


async def test_unordered_answers_arrive_as_they_complete() -> None:
    door = Door()
    seen = []
    opening = asyncio.create_task(door.open(2))
    async for answered in stream(door.ask, range(3), concurrency=3, ordered=False):
        seen.append(answered.position)
        for each in list(door.waiting.values()):
            if not each.done():
                each.set_result(None)
    assert seen[0] == 2
    assert sorted(seen) == [0, 1, 2]
    await opening


@pytest.mark.parametrize("ordered", [True, False])
async def test_infinite_source_is_never_read_ahead(ordered: bool) -> None:
    taken = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    async def ask(item: int) -> int:
        return item

    async with aclosing(stream(ask, endless(), concurrency=3, ordered=ordered)) as answers:
        for num_answered in range(1, 20):
            await anext(answers)
            await settle()
            assert len(taken) <= num_answered + 3


async def test_concurrency_is_bounded() -> None:
    door = Door()

    async def opening() -> None:
        await door.open(*range(7), among=4)
        await door.open(*range(7, 10))

    opened = asyncio.create_task(opening())
    assert len([answered async for answered in stream(door.ask, range(10), concurrency=4)]) == 10
    assert door.most == 4
    await opened


async def test_closing_early_cancels_pending_requests() -> None:
    door = Door()
    opening = asyncio.create_task(door.open(0, among=3))
    async with aclosing(stream(door.ask, itertools.count(), concurrency=3)) as answers:
        await anext(answers)
        await settle()
    assert sorted(door.cancelled) == [1, 2]
    await opening


async def test_answers_do_not_wait_for_a_blocked_source() -> None:
    door, more = Door(), asyncio.Event()

    async def source() -> AsyncIterator[int]:
        yield 0
        await more.wait()
        yield 1

    opening = asyncio.create_task(door.open(0, 1))
    async with aclosing(stream(door.ask, source(), concurrency=2)) as answers:
        assert (await anext(answers)).position == 0
        more.set()
        assert (await anext(answers)).position == 1
    await opening


async def test_exception_of_ask_ends_the_stream() -> None:
    async def ask(item: int) -> int:
        return 1 // item

    with pytest.raises(ZeroDivisionError):
        [answered async for answered in stream(ask, [1, 0, 1], concurrency=2)]


async def test_exception_of_the_source_ends_the_stream() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError

    async def ask(item: int) -> int:
        return item

    with pytest.raises(LookupError):
        [answered async for answered in stream(ask, source(), concurrency=2)]


# -- threads ---------------------------------------------------------------------------------------------------


def test_ordered_threads_keep_the_order_of_the_items() -> None:
    last = threading.Event()

    def ask(item: int) -> int:
        assert last.wait(10) if item == 0 else True
        if item == 2:
            last.set()
        return item * 10

    assert list(blocking_stream(ask, range(3), concurrency=3)) == [(0, 0, 0), (1, 1, 10), (2, 2, 20)]


def test_unordered_threads_answer_as_they_complete() -> None:
    last = threading.Event()

    def ask(item: int) -> int:
        assert last.wait(10) if item == 0 else True
        return item

    seen = []
    for answered in blocking_stream(ask, range(3), concurrency=2, ordered=False):
        seen.append(answered.position)
        if len(seen) == 2:
            last.set()
    assert seen == [1, 2, 0]


@pytest.mark.parametrize("ordered", [True, False])
def test_threads_never_read_ahead(ordered: bool) -> None:
    taken = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    with closing(blocking_stream(str, endless(), concurrency=3, ordered=ordered)) as answers:
        for num_answered, _ in zip(range(1, 20), answers, strict=False):
            assert len(taken) <= num_answered + 3


def test_exception_of_ask_ends_the_threads() -> None:
    with pytest.raises(ZeroDivisionError):
        list(blocking_stream(lambda item: 1 // item, [1, 0, 1], concurrency=2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("shortlist-stream")]


async def test_concurrency_must_be_at_least_one() -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        await anext(stream(asyncio.sleep, [0.0], concurrency=0))
    with pytest.raises(InvalidInput, match="at least 1"):
        next(blocking_stream(str, [0], concurrency=0))
