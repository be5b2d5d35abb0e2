"""Take the README's screenshots of the page, from any running server.

python -m tests.browser.screenshot http://127.0.0.1:8080 docs/images
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
from playwright.sync_api import Page

from tests.browser.chrome import chromium, new_context, observe_page, open_page, try_example

LOAD_S = 30.0
USERS = 2


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="a server without other users")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    with chromium() as browser:
        for tab, (prepare, height) in PICTURES.items():
            with observe_page(new_context(browser, height=height)) as observed:
                page = open_page(observed, arguments.url, tab)
                prepare(page, arguments.url)
                shoot(page, arguments.folder / f"page-{tab}.png")
        with observe_page(new_context(browser, width=390, height=844, lang="zh-CN", scale=2)) as observed:
            page = open_page(observed, arguments.url)
            try_example(page, None)
            page.locator("#rank").click()
            page.get_by_text("来自缓存").wait_for()
            page.locator("#ranking").scroll_into_view_if_needed()
            shoot(page, arguments.folder / "page-phone.png")


def shoot(page: Page, path: Path) -> None:
    """Write a screenshot of the viewport, once animations have ended."""
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    page.screenshot(path=path)


def show_long_document(page: Page, _: str) -> None:
    """Rank a long document among short ones, twice, so that the summary shows cache hits."""
    try_example(page, "A long document")
    page.locator("#rank").click()
    page.get_by_text("from the cache").wait_for()


def show_first_example(page: Page, _: str) -> None:
    """Run the first example."""
    try_example(page, None)


def show_load(page: Page, url: str) -> None:
    """Send requests of a few users, at a varying rate, while the status tab is open."""
    with ThreadPoolExecutor(USERS) as pool:
        busy = [pool.submit(_send_requests, url, user) for user in range(USERS)]
        page.wait_for_timeout(1000 * LOAD_S)
        for each in busy:
            each.result()
        page.wait_for_timeout(500)


def _send_requests(url: str, user: int) -> None:
    """Send new and repeated requests, in waves, for `LOAD_S` seconds."""
    until_s = time.monotonic() + LOAD_S
    with httpx2.Client(base_url=url, timeout=60) as client:
        number = 0
        while time.monotonic() < until_s:
            number += 1
            texts = [f"document {number * (position + user) % 9} of {position}" for position in range(4)]
            client.post("/v1/rerank", json={"query": f"question {number % 5}", "documents": texts})
            time.sleep(0.15 * (number // 10 % 3))


PICTURES: dict[str, tuple[Callable[[Page, str], None], int]] = {
    "rerank": (show_long_document, 940),
    "compare": (show_first_example, 1240),
    "embed": (show_first_example, 800),
    "status": (show_load, 600),
}


if __name__ == "__main__":
    main()
