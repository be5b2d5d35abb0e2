"""One browser for the tests of a module, and one server of each kind for all."""

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
    """A browser. Closed with its module: while it is open, Playwright's event loop runs, and other tests can have none."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def contexts(browser: Browser) -> dict[str, BrowserContext]:
    """Who looked at pages already, by what is special about them."""
    return {}


@pytest.fixture
def new_page(browser: Browser, contexts: dict[str, BrowserContext]) -> Iterator[NewPage]:
    """Pages that must not ask anyone but this machine for anything, nor add_error; closed after the test."""
    with ExitStack() as open_pages:
        pages: list[ObservedPage] = []

        def opened(**how: object) -> ObservedPage:
            if repr(how) not in contexts:
                contexts[repr(how)] = new_context(browser, **how)  # type: ignore[arg-type]
            pages.append(open_pages.enter_context(observe_page(contexts[repr(how)])))
            return pages[-1]

        yield opened
        for observed in pages:
            assert {urlsplit(url).hostname for url in observed.requested_urls if urlsplit(url).scheme.startswith("http")} <= {
                "127.0.0.1"
            }
            assert observed.errors == []


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The address of Shortlist with the demo model, in a process of its own, with the page at /ui."""
    with launched("shortlist", "serve", "demo", "--self-test", "off") as server:
        yield server.url


@pytest.fixture(scope="session")
def locked_url() -> Iterator[str]:
    """The address of one around a fake engine, that wants the key "open-sesame"."""
    with launched("tests.support.fakeserver", "--ui", "true", "--api-key", "open-sesame") as server:
        yield server.url


@pytest.fixture(scope="session")
def standin_url() -> Iterator[str]:
    """The address of the stand-in, which can be made to refuse."""
    with launched("tests.support.standin") as server:
        yield server.url
