"""The page and /docs in a real browser: under a path prefix, with a key, over TLS, behind a real nginx and two servers."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chrome import chromium, expect_rows, fill, missing_browser, new_context, observe_page, open_page
from tests.support.nginx import KEPT, PREFIX, REMOVED, WAIT_S, Nginx, missing_nginx, nginx
from tests.support.process import wait_until
from tests.support.recorder import RecordedServers, recorded_servers

pytestmark = pytest.mark.browser

KEY = "open-sesame"
FLAGS = ("--trusted-proxy", "127.0.0.1", "--root-path", PREFIX, "--ui", "true", "--api-key", KEY)
CLICKS = 20


@pytest.mark.skipif(missing_browser() is not None, reason=missing_browser() or "")
@pytest.mark.skipif(missing_nginx() is not None, reason=missing_nginx() or "")
def test_page_and_docs_work_under_a_prefix(tmp_path: Path) -> None:
    with recorded_servers(tmp_path, *FLAGS) as servers, chromium() as browser:
        for name, changes in (("kept", KEPT), ("removed", REMOVED)):
            context = new_context(browser, any_certificate=True, credentials=("any", KEY))
            with nginx(tmp_path, servers.ports, changes) as front, observe_page(context) as observed:
                url = front.url + PREFIX
                page = open_page(observed, url)
                for number in range(CLICKS):
                    rank(page, f"the red fox {name} {number}")
                    expect_rows(page, [f"the red fox {name} {number}", "a cat"])
                rank_while_nginx_reloads(page, f"the red fox {name} again", servers, front)
                page.get_by_text("The same in curl and Python").click()
                expect(page.locator(".sl-code code").first).to_contain_text(f"curl -s {url}/v1/rerank")
                page.goto(f"{url}/docs")
                expect(page.get_by_text("/v1/rerank", exact=True).first).to_be_visible()
                own = [each for each in observed.requested_urls if each.startswith("http")]
                assert all(each.startswith(f"{url}/") for each in own), own
                assert observed.errors == []


def rank(page: Page, text: str) -> None:
    """Have the page rank this text and another one."""
    fill(page, "query", "red fox")
    fill(page, "documents", f"a cat\n{text}")
    page.locator("#rank").click()


def rank_while_nginx_reloads(page: Page, text: str, servers: RecordedServers, front: Nginx) -> None:
    """Reload nginx while the page waits for a result at an open stream of events."""
    with servers.held():
        rank(page, text)
        wait_until(lambda: servers.computed()[text] == 1, WAIT_S, every_s=0.05)
        front.reloaded()
    expect_rows(page, [text, "a cat"])
