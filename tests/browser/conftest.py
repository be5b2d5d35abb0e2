"""One server for all browser tests, and a browser for each."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.process
import time
from collections.abc import Iterator

import httpx2
import pytest
from selenium import webdriver
from tests.browser.chrome import browsing, missing_browser
from tests.support import standin
from tests.support.serving import free_port

START_S = 60


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The address of a server in a process of its own, with the page at /ui."""
    with _running_standin(None) as url:
        yield url


@pytest.fixture(scope="session")
def standin_url() -> Iterator[str]:
    """The address of the stand-in, which can be made to refuse."""
    with _running_standin(None) as url:
        yield url


@pytest.fixture(scope="session")
def locked_url() -> Iterator[str]:
    """The address of a stand-in that wants the key "open-sesame"."""
    with _running_standin("open-sesame") as url:
        yield url


@contextlib.contextmanager
def _running_standin(api_key: str | None) -> Iterator[str]:
    missing = missing_browser()
    if missing is not None:
        pytest.skip(missing)
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=standin.serve, args=(port, api_key), daemon=True)
    process.start()
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join(timeout=10)


@pytest.fixture
def driver() -> Iterator[webdriver.Chrome]:
    """A browser of an English reader at a desk."""
    missing = missing_browser()
    if missing is not None:
        pytest.skip(missing)
    with browsing() as browser:
        yield browser


def _wait_until_ready(url: str, process: multiprocessing.process.BaseProcess) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        assert process.is_alive(), "the server died while starting"
        try:
            if httpx2.get(f"{url}/ready").status_code == httpx2.codes.OK:
                return
        except httpx2.ConnectError:
            time.sleep(0.1)
    pytest.fail("the server did not become ready")
