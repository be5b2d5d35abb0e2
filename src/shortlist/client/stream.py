"""Sends many requests with bounded concurrency: items in, answers out.

An item is taken from its source only when it can be sent, so a source may be infinite and is never read ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from concurrent import futures
from typing import Final, Generic, NamedTuple, TypeVar

from shortlist.errors import InvalidInput

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Answered(NamedTuple, Generic[Item, Answer]):
    """An item, its position in the source, and its answer."""

    position: int
    item: Item
    answer: Answer


class _End:
    """Marks the end of a source."""


_END: Final = _End()


async def stream(
    ask: Callable[[Item], Awaitable[Answer]],
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    concurrency: int,
    ordered: bool = True,
) -> AsyncGenerator[Answered[Item, Answer], None]:
    """Yield every item with its answer; pending requests are cancelled when the generator closes.

    Args:
        ask: Answers one item; an exception ends the stream.
        items: The source. A plain iterable runs on the event loop; a source that blocks must be asynchronous.
        concurrency: Maximum number of concurrent requests, and of answers that wait for the caller.
        ordered: Whether answers keep the order of the items, or arrive as they complete.

    Raises:
        InvalidInput: `concurrency` is not at least 1.
    """
    _check(concurrency)
    source = aiter(items) if isinstance(items, AsyncIterable) else _iterate(items)
    running: dict[asyncio.Task[Answer], tuple[int, Item]] = {}
    upcoming: asyncio.Task[Item | _End] | None = None
    num_taken, is_exhausted = 0, False
    try:
        while True:
            if upcoming is None and not is_exhausted and len(running) < concurrency:
                upcoming = asyncio.create_task(_next(source))
            awaited = list(running)[: 1 if ordered else None]
            if upcoming is None and not awaited:
                return
            await asyncio.wait([*awaited, *([] if upcoming is None else [upcoming])], return_when=asyncio.FIRST_COMPLETED)
            if upcoming is not None and upcoming.done():
                item, upcoming = upcoming.result(), None
                if isinstance(item, _End):
                    is_exhausted = True
                else:
                    running[asyncio.create_task(_answer(ask, item))] = (num_taken, item)
                    num_taken += 1
            for task in awaited:
                if task.done():
                    position, item = running.pop(task)
                    yield Answered(position, item, task.result())
    finally:
        await _cancel([*running, *([] if upcoming is None else [upcoming])])


def blocking_stream(
    ask: Callable[[Item], Answer], items: Iterable[Item], *, concurrency: int, ordered: bool = True
) -> Generator[Answered[Item, Answer], None, None]:
    """Yield every item with its answer, as `stream` does, with threads. Closing early waits for pending requests.

    Raises:
        InvalidInput: `concurrency` is not at least 1.
    """
    _check(concurrency)
    source = enumerate(items)
    running: dict[futures.Future[Answer], tuple[int, Item]] = {}
    with futures.ThreadPoolExecutor(concurrency, "shortlist-stream") as pool:
        is_exhausted = False
        while True:
            while not is_exhausted and len(running) < concurrency:
                taken = next(source, None)
                if taken is None:
                    is_exhausted = True
                else:
                    running[pool.submit(ask, taken[1])] = taken
            if not running:
                return
            awaited = list(running)[: 1 if ordered else None]
            for task in futures.wait(awaited, return_when=futures.FIRST_COMPLETED).done:
                yield Answered(*running.pop(task), task.result())


def _check(concurrency: int) -> None:
    if concurrency < 1:
        raise InvalidInput("`concurrency` must be at least 1.", param="concurrency")


async def _iterate(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


async def _next(source: AsyncIterator[Item]) -> Item | _End:
    return await anext(source, _END)


async def _answer(ask: Callable[[Item], Awaitable[Answer]], item: Item) -> Answer:
    return await ask(item)


async def _cancel(tasks: list[asyncio.Task[Answer] | asyncio.Task[Item | _End]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
