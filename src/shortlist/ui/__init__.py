"""The web page, a client of the server.

It calls the server through `client`, in the same process but through the whole HTTP stack, so the page can do nothing that
another client cannot. Gradio is optional and slow to import, so nothing here imports it before the page is mounted.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fastapi import FastAPI

    from shortlist.ui.lazy import LazyPage, Page

DEFAULT_PATH = "/ui"

ICON_SVG: Final = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 28 28'>"
    "<rect x='2' y='4' width='24' height='5' rx='2.5' fill='#17715f'/>"
    "<rect x='2' y='12' width='16' height='5' rx='2.5' fill='#69a898'/>"
    "<rect x='2' y='20' width='9' height='5' rx='2.5' fill='#a9cdc4'/></svg>"
)
"""The icon in the browser's tab: three bars, the longest first."""


def is_available() -> bool:
    """Return whether the page can be mounted: whether Gradio is installed."""
    return importlib.util.find_spec("gradio") is not None


def mount_page(
    app: FastAPI,
    *,
    path: str = DEFAULT_PATH,
    stopping: asyncio.Event | None = None,
    wait_idle: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0),
    has_jobs: bool = False,
) -> LazyPage:
    """Mount the page under `path`; it is built on its first request, and closed with the app.

    The page has no API key of its own: it sends the key that the user's browser signed in with.

    Args:
        app: The server. The page calls it in this process, so no address or port is needed.
        path: The page's URL path.
        stopping: Set when the server stops; then streams of open pages end.
        wait_idle: Waits until no request runs; streams that show one end afterwards.
        has_jobs: Whether the server takes jobs, and the page lists them.

    Units: the first request to the page takes seconds, because it imports Gradio.
    """
    from shortlist.ui.lazy import LazyPage

    def load() -> Callable[[], Page]:
        from shortlist.ui.page import build
        from shortlist.ui.session import session_factory

        return partial(build, session_factory(app), path=path, has_jobs=has_jobs)

    page = LazyPage(load, stopping=stopping, wait_idle=wait_idle)
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan_with_page(running_app: FastAPI) -> AsyncIterator[Any]:
        async with lifespan(running_app) as state:
            try:
                yield state
            finally:
                await page.close()

    app.router.lifespan_context = lifespan_with_page
    _add_browser_files(app, path)
    app.mount(path, page)
    return page


def _add_browser_files(app: FastAPI, path: str) -> None:
    """Serve the two files that browsers request at the root, for any `path` of the page."""
    from fastapi.responses import JSONResponse, Response

    async def favicon() -> Response:
        return Response(ICON_SVG, media_type="image/svg+xml")

    async def manifest() -> Response:
        # URLs are relative to this file, so that they are right under any prefix.
        icon = {"src": "favicon.ico", "sizes": "any", "type": "image/svg+xml"}
        name = {"name": "Shortlist", "short_name": "Shortlist", "display": "browser"}
        return JSONResponse({**name, "start_url": f"{path[1:]}/", "icons": [icon]}, media_type="application/manifest+json")

    app.get("/favicon.ico", include_in_schema=False)(favicon)
    app.get("/manifest.json", include_in_schema=False)(manifest)
