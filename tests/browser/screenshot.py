"""Take a picture of the page with a ranking on it, from any running server.

python -m tests.browser.screenshot http://127.0.0.1:8080 docs/images/page.png
python -m tests.browser.screenshot URL OUT --width 375 --lang zh-CN --scheme dark --example 2
"""

from __future__ import annotations

import argparse
import base64
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.chrome import browsing, fill, open_page, wait_for

SETTLE_S = 1.5


def main() -> None:
    arguments = _arguments()
    look = {"width": arguments.width, "height": arguments.height, "lang": arguments.lang, "scheme": arguments.scheme}
    with browsing(**look) as driver:
        open_page(driver, arguments.url)
        if arguments.query is not None:
            fill(driver, "query", arguments.query)
            fill(driver, "documents", arguments.documents.replace("|", "\n"))
            driver.find_element(By.ID, "rank").click()
            wait_for(driver, ".sl-result, .sl-alert")
        elif arguments.example >= 0:
            driver.find_elements(By.CSS_SELECTOR, ".sl-examples button")[arguments.example].click()
            wait_for(driver, ".sl-result, .sl-alert")
        arguments.out.write_bytes(picture(driver, whole=arguments.whole))


def picture(driver: webdriver.Chrome, *, whole: bool = False) -> bytes:
    """Return a PNG of what is in view, or of the whole page, once nothing moves any more."""
    driver.execute_async_script(f"document.activeElement.blur(); setTimeout(arguments[0], {1000 * SETTLE_S})")
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
    return base64.b64decode(shot["data"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--lang", default="en-US")
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    parser.add_argument("--example", type=int, default=0, help="which example to click; -1 for none")
    parser.add_argument("--query", help="type this instead")
    parser.add_argument("--documents", default="", help="and these, split at |")
    parser.add_argument("--whole", action="store_true", help="the whole page, not only what is in view")
    return parser.parse_args()


if __name__ == "__main__":
    main()
