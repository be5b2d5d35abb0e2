"""Mounts the page on its first request: importing Gradio takes seconds and memory that most servers never need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send


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
    """

    def __init__(self, load: Callable[[], Callable[[], Page]]) -> None:
        self._load = load
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
        await page.app(scope, receive, send)

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
