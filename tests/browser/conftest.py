"""One server for all browser tests, and a browser for each."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx2
import pytest
from selenium import webdriver

from tests.browser.chrome import browsing, missing_browser
from tests.support.serving import free_port

START_S = 90


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The address of Shortlist with the demo model, in a process of its own, with the page at /ui."""
    with _running("shortlist", "serve", "demo") as url:
        yield url


@pytest.fixture(scope="session")
def locked_url() -> Iterator[str]:
    """The address of the same that wants the key "open-sesame"."""
    with _running("shortlist", "serve", "demo", "--api-key", "open-sesame") as url:
        yield url


@pytest.fixture(scope="session")
def standin_url() -> Iterator[str]:
    """The address of the stand-in, which can be made to refuse."""
    with _running("tests.support.standin") as url:
        yield url


@contextlib.contextmanager
def _running(*module_and_arguments: str) -> Iterator[str]:
    missing = missing_browser()
    if missing is not None:
        pytest.skip(missing)
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", *module_and_arguments, "--port", str(port)])
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture
def driver() -> Iterator[webdriver.Chrome]:
    """A browser of an English reader at a desk."""
    missing = missing_browser()
    if missing is not None:
        pytest.skip(missing)
    with browsing() as browser:
        yield browser


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        assert process.poll() is None, "the server died while starting"
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{url}/ready").status_code == httpx2.codes.OK:
                return
        time.sleep(0.1)
    pytest.fail("the server did not become ready")
