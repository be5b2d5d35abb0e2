"""One server for all browser tests, and a browser for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.browser.chrome import browsing, missing_browser
from tests.support.process import launched


@pytest.fixture(scope="session", autouse=True)
def _browser() -> None:
    missing = missing_browser()
    if missing is not None:
        pytest.skip(missing)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The address of Shortlist with the demo model, in a process of its own, with the page at /ui."""
    with launched("shortlist", "serve", "demo") as server:
        yield server.url


@pytest.fixture(scope="session")
def locked_url() -> Iterator[str]:
    """The address of the same that wants the key "open-sesame"."""
    with launched("shortlist", "serve", "demo", "--api-key", "open-sesame") as server:
        yield server.url


@pytest.fixture(scope="session")
def standin_url() -> Iterator[str]:
    """The address of the stand-in, which can be made to refuse."""
    with launched("tests.support.standin") as server:
        yield server.url


@pytest.fixture
def driver() -> Iterator[webdriver.Chrome]:
    """A browser of an English reader at a desk."""
    with browsing() as browser:
        yield browser
