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
    """A page that has been built: what answers, its routes, and a context in which it is alive."""

    app: ASGIApp
    routes: Sequence[BaseRoute]
    life: AbstractAsyncContextManager[object]


class LazyPage:
    """An ASGI application that builds the page on its first request.

    Args:
        load: Brings what the page needs, which takes seconds, in a thread; returns what makes the page, on the event loop.
    """

    def __init__(self, load: Callable[[], Callable[[], Page]]) -> None:
        self._load = load
        self._opening = asyncio.Lock()
        self._page: Page | None = None
        self._life: asyncio.Task[None] | None = None
        self._is_closing = asyncio.Event()

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The page's own routes; none before it is opened."""
        return self._page.routes if self._page is not None else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the page."""
        page = await self._open()
        await page.app(scope, receive, send)

    async def close(self) -> None:
        """Stop the page, if it was ever opened."""
        self._is_closing.set()
        if self._page is not None and self._life is not None:
            await self._life

    async def _open(self) -> Page:
        """Return the page, built and started."""
        async with self._opening:
            if self._page is None:
                page = (await asyncio.to_thread(self._load))()
                has_started = asyncio.Event()
                self._life = asyncio.create_task(self._live(page, has_started))
                starting = asyncio.create_task(has_started.wait())
                await asyncio.wait({self._life, starting}, return_when=asyncio.FIRST_COMPLETED)
                starting.cancel()
                if self._life.done():
                    await self._life  # raises what kept it from starting
                self._page = page
            return self._page

    async def _live(self, page: Page, has_started: asyncio.Event) -> None:
        """Hold the page's life in one task: what enters a context must also leave it."""
        async with page.life:
            has_started.set()
            await self._is_closing.wait()
