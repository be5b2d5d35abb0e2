"""The page is built once, on its first request, and stopped with the server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI

from shortlist.ui.lazy import LazyPage, Page


class Built:
    """Builds pages and records their events."""

    def __init__(self, *, fails: int = 0, fails_to_start: bool = False) -> None:
        self.events: list[str] = []
        self._fails = fails
        self._fails_to_start = fails_to_start

    def __call__(self) -> Callable[[], Page]:
        assert threading.current_thread() is not threading.main_thread()
        time.sleep(0.01)
        self.events.append("built")
        if self.events.count("built") <= self._fails:
            raise RuntimeError("load failed")
        return self._build

    def _build(self) -> Page:
        asyncio.get_running_loop()
        app = FastAPI()
        app.get("/")(lambda: "hello")
        return Page(app, app.routes, self._lifespan())

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        if self._fails_to_start and self.events.count("built") == 1:
            raise RuntimeError("startup failed")
        entering_task = asyncio.current_task()
        self.events.append("started")
        yield
        assert asyncio.current_task() is entering_task
        self.events.append("stopped")


def client(page: LazyPage) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=page), base_url="http://page")


async def test_page_is_built_once_on_the_first_request() -> None:
    built = Built()
    page = LazyPage(built)
    assert (built.events, list(page.routes)) == ([], [])
    async with client(page) as caller:
        answers = await asyncio.gather(*(caller.get("/") for _ in range(5)))
    assert [answer.json() for answer in answers] == ["hello"] * 5
    assert built.events == ["built", "started"]
    assert any(getattr(route, "path", "") == "/" for route in page.routes)
    await page.close()
    assert built.events == ["built", "started", "stopped"]


async def test_closing_an_unbuilt_page_does_nothing() -> None:
    built = Built()
    await LazyPage(built).close()
    assert built.events == []


@pytest.mark.parametrize("built", [Built(fails=1), Built(fails_to_start=True)])
async def test_next_request_retries_a_failed_build(built: Built) -> None:
    page = LazyPage(built)
    async with client(page) as caller:
        with pytest.raises(RuntimeError, match=r"(load|startup) failed"):
            await caller.get("/")
        assert (await caller.get("/")).status_code == 200
    await page.close()
