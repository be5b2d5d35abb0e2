"""A headless Chromium that looks at the page the way a person would: a size, a language, light or dark."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
WAIT_S = 20


def missing_browser() -> str | None:
    """Return what is missing to run a browser here, or None."""
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install chromium chromium-driver)"
    return None


@contextlib.contextmanager
def browsing(*, width: int = 1280, height: int = 900, lang: str = "en-US", scheme: str = "light") -> Iterator[webdriver.Chrome]:
    """Yield a browser with a profile of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = shutil.which("chromium") or ""
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option("prefs", {"intl.accept_languages": lang})
        for argument in (*ARGUMENTS, f"--lang={lang}", f"--user-data-dir={profile}"):
            options.add_argument(argument)
        driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        try:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            features = [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            yield driver
        finally:
            driver.quit()


def open_page(driver: webdriver.Chrome, url: str) -> None:
    """Open the page and wait until it can be used: the models are listed."""
    driver.get(f"{url}/ui/")
    wait(driver).until(lambda browser: browser.find_elements(By.CSS_SELECTOR, "#model input"))
    wait(driver).until(lambda browser: browser.find_element(By.CSS_SELECTOR, "#model input").get_attribute("value"))


def fill(driver: webdriver.Chrome, field: str, value: str) -> None:
    """Type into a field, over what is there."""
    element = driver.find_element(By.CSS_SELECTOR, f"#{field} textarea, #{field} input")
    element.clear()
    element.send_keys(value)


def wait(driver: webdriver.Chrome) -> WebDriverWait[webdriver.Chrome]:
    """Return a patient wait."""
    return WebDriverWait(driver, WAIT_S)


def wait_for(driver: webdriver.Chrome, selector: str) -> str:
    """Wait until something that matches is on the page, and return its text."""
    return str(wait(driver).until(lambda browser: browser.find_element(By.CSS_SELECTOR, selector)).text)
