"""A headless Chromium with a screen size, a language, and a light or dark colour scheme.

Playwright starts Debian's Chromium and never downloads a browser. `ObservedPage` records requests and console errors for tests.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, HttpCredentials, Page, Request, expect, sync_playwright

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update")
WAIT_MS = 30_000
NAVIGATION_ERRORS = ("signal is aborted without reason", "BodyStreamBuffer was aborted", "Connection errored out.")
expect.set_options(timeout=WAIT_MS)


def missing_browser() -> str | None:
    """Return what is missing to run a browser here, or None."""
    return None if shutil.which("chromium") else "chromium is not installed (apt-get install chromium)"


@dataclass
class ObservedPage:
    """An open page with its requests and errors.

    Attributes:
        page: The page.
        requested_urls: URLs of all requests.
        errors: Console errors and warnings, and uncaught exceptions of scripts.
    """

    page: Page
    requested_urls: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def on_console(self, message: ConsoleMessage) -> None:
        """Record an error or warning of the console."""
        if message.type in {"error", "warning"}:
            self.add_error(message.text)

    def add_error(self, text: str) -> None:
        """Record an error, except those of every page that is left while its stream is open."""
        if not any(word in text for word in NAVIGATION_ERRORS):
            self.errors.append(text)

    def on_request(self, request: Request) -> None:
        """Record a URL."""
        self.requested_urls.append(request.url)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser; every context in it has its own profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def observe_page(context: BrowserContext) -> Iterator[ObservedPage]:
    """Yield an empty page; closing it clears the context's cookies."""
    observed = ObservedPage(context.new_page())
    observed.page.on("request", observed.on_request)
    observed.page.on("console", observed.on_console)
    observed.page.on("pageerror", lambda error: observed.add_error(str(error)))
    try:
        yield observed
    finally:
        observed.page.close()
        context.clear_cookies()


def new_context(
    browser: Browser,
    *,
    width: int = 1280,
    height: int = 900,
    lang: str = "en-US",
    scheme: Literal["light", "dark"] = "light",
    scale: float = 1,
    credentials: tuple[str, str] | None = None,
    any_certificate: bool = False,
) -> BrowserContext:
    """Return a browser context with a screen size, a language and a colour scheme, and its own HTTP cache."""
    http_credentials: HttpCredentials | None = None
    if credentials is not None:
        http_credentials = {"username": credentials[0], "password": credentials[1]}
    context = browser.new_context(
        viewport={"width": width, "height": height},
        locale=lang,
        color_scheme=scheme,
        reduced_motion="reduce",
        device_scale_factor=scale,
        has_touch=width < 500,
        is_mobile=width < 500,
        http_credentials=http_credentials,
        ignore_https_errors=any_certificate,
    )
    context.set_default_timeout(WAIT_MS)
    return context


def open_page(observed: ObservedPage, url: str, tab: str = "rerank") -> Page:
    """Open the page at a tab, and wait until the tab is ready: its choices are filled."""
    observed.page.goto(f"{url}/ui/" if tab == "rerank" else f"{url}/ui/#{tab}")
    _wait_until_ready(observed.page, tab)
    return observed.page


def _wait_until_ready(page: Page, tab: str) -> None:
    locator = page.locator(f"#{READY[tab]}").first
    locator.wait_for()
    if tab != "status":
        expect(locator).not_to_have_value("")


READY = {"rerank": "model input", "compare": "model_a input", "embed": "embedder input", "status": "status"}
"""Selector of the element that shows a tab is ready; an input is ready when it has a value."""

TABS = tuple(READY)


def go(page: Page, tab: str) -> None:
    """Open another tab, and wait until it is ready."""
    page.get_by_role("tab").nth(TABS.index(tab)).click()
    _wait_until_ready(page, tab)


def fill(page: Page, field_id: str, value: str) -> None:
    """Replace the text of a field."""
    page.locator(f"#{field_id} textarea, #{field_id} input").first.fill(value)


def try_example(page: Page, name: str | None) -> None:
    """Click an example of the open tab, the first if `name` is None, and wait for its answer."""
    buttons = page.locator(".sl-examples button:visible")
    (buttons if name is None else buttons.filter(has_text=name)).first.click()
    page.locator(".sl-result:visible").first.wait_for()


def rows(page: Page) -> list[str]:
    """Return the ranked texts, once they are shown."""
    page.locator(".sl-result tbody tr[data-index]").first.wait_for()
    return page.locator(".sl-result td.sl-text").all_inner_texts()


def expect_rows(page: Page, texts: Sequence[str]) -> None:
    """Wait until the ranked texts equal `texts`."""
    expect(page.locator(".sl-result td.sl-text")).to_have_text(list(texts))
