"""Our head is in the page's document before anything else is, and nowhere else."""

from __future__ import annotations

import httpx2
import pytest
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from shortlist.ui.document import with_head

DOCUMENT = f"<!doctype html><html><head><title>中</title></head><body>{'<head>' * 200}</body></html>"


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    await HTMLResponse(DOCUMENT)(scope, receive, send)


async def asked(app: ASGIApp, path: str = "/", method: str = "GET") -> httpx2.Response:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://page") as client:
        return await client.request(method, path)


@pytest.mark.parametrize("app", [page, GZipMiddleware(page, minimum_size=10)])
async def test_head_begins_with_ours_though_the_browser_takes_compressed_pages(app: ASGIApp) -> None:
    answer = await asked(with_head(app, "<script>1</script>"))
    assert answer.text == DOCUMENT.replace("<head>", "<head><script>1</script>", 1)
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize(("path", "is_document"), [("/ui/", True), ("/ui/config", False), ("/ui/assets/a.js", False)])
async def test_only_the_document_is_changed_wherever_the_page_is_mounted(path: str, is_document: bool) -> None:
    app = Router([Mount("/ui", with_head(page, "<meta>"))])
    answer = await asked(app, path)
    assert ("<meta>" in answer.text) is is_document


async def test_answer_in_pieces_is_put_together() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        assert Request(scope).headers.get("accept-encoding") is None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"<he", b"ad>", b""):
            await send({"type": "http.response.body", "body": piece, "more_body": piece != b""})

    answer = await asked(with_head(slow, "<meta>"))
    assert answer.text == "<head><meta>"


async def test_head_request_keeps_the_length_that_it_was_told() -> None:
    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b""})

    answer = await asked(with_head(bare, "<meta>"), method="HEAD")
    assert answer.headers["content-length"] == "9"
