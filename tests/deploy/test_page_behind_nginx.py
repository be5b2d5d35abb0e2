"""The page and /docs in a real browser, under a path prefix, over TLS, behind a real nginx."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.chrome import chromium, expect_rows, fill, missing_browser, new_context, observe_page, open_page
from tests.support.nginx import KEPT, PREFIX, REMOVED, missing_nginx, nginx
from tests.support.recorder import recorded_servers

pytestmark = pytest.mark.browser

FLAGS = ("--trusted-proxy", "127.0.0.1", "--root-path", PREFIX, "--ui", "true")


@pytest.mark.skipif(missing_browser() is not None, reason=missing_browser() or "")
@pytest.mark.skipif(missing_nginx() is not None, reason=missing_nginx() or "")
def test_page_and_docs_work_under_a_prefix(tmp_path: Path) -> None:
    with recorded_servers(tmp_path, *FLAGS, count=1) as servers, chromium() as browser:
        for changes in (KEPT, REMOVED):
            context = new_context(browser, any_certificate=True)
            with nginx(tmp_path, servers.ports, changes) as front, observe_page(context) as observed:
                url = front.url + PREFIX
                page = open_page(observed, url)
                fill(page, "query", "red fox")
                fill(page, "documents", "a cat\nthe red fox")
                page.locator("#rank").click()
                expect_rows(page, ["the red fox", "a cat"])
                page.get_by_text("The same in curl and Python").click()
                expect(page.locator(".sl-code code").first).to_contain_text(f"curl -s {url}/v1/rerank")
                page.goto(f"{url}/docs")
                expect(page.get_by_text("/v1/rerank", exact=True).first).to_be_visible()
                own = [each for each in observed.requested_urls if each.startswith("http")]
                assert all(each.startswith(f"{url}/") for each in own), own
                assert observed.errors == []
