"""The page on errors, on slow answers, with an API key, and on cancel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import expect

from shortlist import ui
from shortlist.api.app import create_app
from tests.browser.chrome import expect_rows, fill, go, open_page, rows
from tests.browser.conftest import NewPage
from tests.support.apps import runtime
from tests.support.fake_engine import FakeEngine
from tests.support.process import wait_until
from tests.support.serving import serving

pytestmark = pytest.mark.browser

REFUSALS = [
    ("busy", "The server is busy. Try again in 12 s."),
    ("slow", "did not finish in time"),
    ("gone", "The model is not available"),
]


@contextmanager
def served_with(engine: FakeEngine, **settings: object) -> Iterator[str]:
    """Serve the page with an engine that the test controls."""
    app = create_app(runtime(engine, **settings))
    ui.mount_page(app)
    with serving(app) as url:
        yield url


def test_server_error_shows_a_message(new_page: NewPage, standin_url: str) -> None:
    page = open_page(new_page(), standin_url)
    fill(page, "documents", "a\nb")
    for query, sentence in REFUSALS:
        fill(page, "query", query)
        page.locator("#rank").click()
        expect(page.get_by_role("alert")).to_contain_text(sentence)


def test_two_models_are_compared(new_page: NewPage, standin_url: str) -> None:
    page = open_page(new_page(), standin_url, "compare")
    fill(page, "query_a", "bread")
    fill(page, "compared", "trains\nbread")
    page.locator("#compare").click()
    expect(page.get_by_role("alert")).to_contain_text("Both sides are the same")
    page.locator("#model_b input").click()
    page.get_by_role("option", name="other-reranker").click()
    page.locator("#compare").click()
    expect(page.locator(".sl-model")).to_have_text(["stand-in-reranker", "other-reranker"])
    expect(page.locator(".sl-verdict")).to_have_text("Both rankings have the same order.")


def test_rate_limit_shows_the_wait(new_page: NewPage) -> None:
    with served_with(FakeEngine(), max_requests_per_minute=1) as url:
        page = open_page(new_page(), url)
        fill(page, "query", "q")
        fill(page, "documents", "a\nb")
        page.locator("#rank").click()
        assert len(rows(page)) == 2
        page.locator("#rank").click()
        expect(page.get_by_role("alert")).to_contain_text("The server is busy. Try again in")
        answer = httpx2.post(f"{url}/v1/rerank", json={"query": "q", "documents": ["a"]})
        assert answer.status_code == httpx2.codes.TOO_MANY_REQUESTS


def test_cancelled_run_disconnects_and_keeps_partial_results(new_page: NewPage, tmp_path: Path) -> None:
    slow = FakeEngine(step_s=0.7)
    with served_with(slow) as url:
        page = open_page(new_page(), url)
        groups = [{"query": f"q{number}", "documents": ["a", "b"]} for number in range(9)]
        (tmp_path / "g.jsonl").write_text("\n".join(map(json.dumps, groups)), encoding="utf-8")
        page.locator("#file").set_input_files(tmp_path / "g.jsonl")
        page.locator(".sl-file").wait_for()
        expect(page.locator("#rank_cancel")).to_be_hidden()
        page.locator("#rank").click()
        expect(page.locator(".sl-progress")).to_contain_text("of 9 queries")
        expect(page.locator(".sl-group").first).to_be_visible()
        page.locator("#rank_cancel").click()
        expect(page.locator(".sl-stopped")).to_have_text("Cancelled.")
        expect(page.locator("#rank_cancel")).to_be_hidden()
        assert 1 <= page.locator(".sl-group").count() < 9
        wait_until(lambda: 'route="/v1/rerank",status="499"' in httpx2.get(f"{url}/metrics").text)
        num_batches = len(slow.batches)
        assert num_batches < 9
        page.wait_for_timeout(1500)
        assert len(slow.batches) == num_batches


def test_page_works_with_a_key_from_basic_authentication(new_page: NewPage, locked_url: str) -> None:
    """The key is the password of basic authentication, with any user name."""
    page = open_page(new_page(credentials=("anybody", "open-sesame")), locked_url)
    fill(page, "query", "bread")
    fill(page, "documents", "trains\nbread")
    page.locator("#rank").click()
    expect_rows(page, ["bread", "trains"])
    page.get_by_text("The same in curl and Python").click()
    code = page.locator(".sl-code").first
    expect(code).to_contain_text("$SHORTLIST_API_KEY")
    expect(code).not_to_contain_text("open-sesame")
    go(page, "status")
    expect(page.locator(".sl-panel")).to_have_count(6)


def test_page_is_unauthorized_without_a_key(locked_url: str) -> None:
    for path in ("/ui", "/ui/", "/ui/config", "/ui/gradio_api/upload", "/favicon.ico"):
        assert httpx2.get(locked_url + path).status_code == httpx2.codes.UNAUTHORIZED
