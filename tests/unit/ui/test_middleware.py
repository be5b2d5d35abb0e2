"""Tags are inserted into the HTML head of the page's root document only."""

from __future__ import annotations

import httpx2
import pytest
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.ui.middleware import insert_head

DOCUMENT = f"<!doctype html><html><head><title>中</title></head><body>{'<head>' * 200}</body></html>"


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    await HTMLResponse(DOCUMENT)(scope, receive, send)


async def get(app: ASGIApp, path: str = "/", method: str = "GET") -> httpx2.Response:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://page") as client:
        return await client.request(method, path)


@pytest.mark.parametrize("app", [page, GZipMiddleware(page, minimum_size=10)])
async def test_head_markup_is_inserted_even_with_compression(app: ASGIApp) -> None:
    answer = await get(insert_head(app, "<script>1</script>"))
    assert answer.text == DOCUMENT.replace("<head>", "<head><script>1</script>", 1)
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize(("path", "is_document"), [("/ui/", True), ("/ui/config", False), ("/ui/assets/a.js", False)])
async def test_only_the_root_document_is_changed_under_a_mount_path(path: str, is_document: bool) -> None:
    app = Router([Mount("/ui", insert_head(page, "<meta>"))])
    answer = await get(app, path)
    assert ("<meta>" in answer.text) is is_document


async def test_streamed_response_is_joined() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        assert Request(scope).headers.get("accept-encoding") is None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"<he", b"ad>", b""):
            await send({"type": "http.response.body", "body": piece, "more_body": piece != b""})

    answer = await get(insert_head(slow, "<meta>"))
    assert answer.text == "<head><meta>"


async def test_head_request_keeps_its_content_length() -> None:
    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b""})

    answer = await get(insert_head(bare, "<meta>"), method="HEAD")
    assert answer.headers["content-length"] == "9"
