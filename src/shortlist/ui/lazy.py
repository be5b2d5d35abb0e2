"""Mounts the page on its first request: importing Gradio takes seconds and memory that most servers never need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEARTBEAT: Final = "/heartbeat"
"""Part of the path of the stream that a tab keeps open."""


@dataclass(frozen=True, slots=True)
class Page:
    """A built page: its application, its routes, and its lifespan context."""

    app: ASGIApp
    routes: Sequence[BaseRoute]
    lifespan: AbstractAsyncContextManager[object]


class LazyPage:
    """An ASGI application that builds the page on its first request.

    Args:
        load: Imports the page's modules in a thread (takes seconds); returns the function that builds it on the event loop.
        stopping: Set when the server stops.
        wait_idle: Waits until no request runs any more.
    """

    def __init__(
        self,
        load: Callable[[], Callable[[], Page]],
        *,
        stopping: asyncio.Event | None = None,
        wait_idle: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0),
    ) -> None:
        self._load = load
        self._stopping = stopping or asyncio.Event()
        self._wait_idle = wait_idle
        self._open_lock = asyncio.Lock()
        self._page: Page | None = None
        self._lifespan_task: asyncio.Task[None] | None = None
        self._is_closing = asyncio.Event()

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The page's routes; empty before it is built."""
        return self._page.routes if self._page is not None else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Build the page if needed, and pass the request to it."""
        page = await self._open()
        if scope["type"] == "http" and scope["method"] == "GET":
            await until(self._should_end, page.app, scope, receive, send)
        else:
            await page.app(scope, receive, send)

    async def _should_end(self, path: str) -> None:
        """Wait until the server stops and a stream would only delay it: a tab that is open, or one whose run has ended."""
        await self._stopping.wait()
        if HEARTBEAT not in path:
            await self._wait_idle()

    async def close(self) -> None:
        """Stop the page, if it was built."""
        self._is_closing.set()
        if self._page is not None and self._lifespan_task is not None:
            await self._lifespan_task

    async def _open(self) -> Page:
        """Return the page, built and started."""
        async with self._open_lock:
            if self._page is None:
                page = (await asyncio.to_thread(self._load))()
                has_started = asyncio.Event()
                self._lifespan_task = asyncio.create_task(self._run_lifespan(page, has_started))
                starting = asyncio.create_task(has_started.wait())
                await asyncio.wait({self._lifespan_task, starting}, return_when=asyncio.FIRST_COMPLETED)
                starting.cancel()
                if self._lifespan_task.done():
                    await self._lifespan_task  # raises the startup error
                self._page = page
            return self._page

    async def _run_lifespan(self, page: Page, has_started: asyncio.Event) -> None:
        """Enter and exit the lifespan in one task: a context must be exited by the task that entered it."""
        async with page.lifespan:
            has_started.set()
            await self._is_closing.wait()


async def until(should_end: Callable[[str], Awaitable[None]], app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application until it ends, or its response should end; a response that has begun is completed."""
    is_open = False

    async def watched_send(message: Message) -> None:
        nonlocal is_open
        await send(message)
        is_open = message["type"] == "http.response.start" or message.get("more_body", False)

    running = asyncio.ensure_future(app(scope, receive, watched_send))
    ending = asyncio.ensure_future(should_end(scope["path"]))
    try:
        await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        has_ended = running.done()
        running.cancel()
    if has_ended:
        await running
        return
    await asyncio.wait({running})
    if is_open:
        await send({"type": "http.response.body", "body": b""})
