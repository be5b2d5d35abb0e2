"""One browser per test module, and one server of each kind per session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.chrome import ObservedPage, chromium, missing_browser, new_context, observe_page
from tests.support.process import launched

NewPage = Callable[..., ObservedPage]
"""Opens an empty page: `new_page(width=390, lang="zh-CN")`."""


@pytest.fixture(scope="session", autouse=True)
def _browser() -> None:
    missing = missing_browser()
    if missing is not None:
        pytest.skip(missing)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, closed with its module: while it is open, Playwright's event loop runs, and other tests cannot start theirs."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def contexts(browser: Browser) -> dict[str, BrowserContext]:
    """Browser contexts by their options."""
    return {}


@pytest.fixture
def new_page(browser: Browser, contexts: dict[str, BrowserContext]) -> Iterator[NewPage]:
    """Opens pages that may send requests to this machine only and must log no error; closed after the test."""
    with ExitStack() as open_pages:
        pages: list[ObservedPage] = []

        def opened(**how: object) -> ObservedPage:
            if repr(how) not in contexts:
                contexts[repr(how)] = new_context(browser, **how)  # type: ignore[arg-type]
            pages.append(open_pages.enter_context(observe_page(contexts[repr(how)])))
            return pages[-1]

        yield opened
        for observed in pages:
            urls = map(urlsplit, observed.requested_urls)
            assert {url.hostname for url in urls if url.scheme.startswith("http")} <= {"127.0.0.1"}
            assert observed.errors == []


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of Shortlist with the demo model, in its own process, with the page at /ui."""
    with launched("shortlist", "serve", "demo", "--self-test", "off") as server:
        yield server.url


@pytest.fixture(scope="session")
def locked_url() -> Iterator[str]:
    """The URL of a server with a fake engine that requires the key "open-sesame"."""
    with launched("tests.support.fakeserver", "--ui", "true", "--api-key", "open-sesame") as server:
        yield server.url


@pytest.fixture(scope="session")
def standin_url() -> Iterator[str]:
    """The URL of the stand-in server, which can return errors."""
    with launched("tests.support.standin") as server:
        yield server.url
