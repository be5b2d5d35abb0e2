"""A person at the page, in a real browser, over a real server."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.chrome import browsing, fill, open_page, wait, wait_for

pytestmark = pytest.mark.browser

QUERY = "freeze bread without drying it"
DOCUMENTS = ("Trains leave every hour.", "Bread was baked in Egypt.", "Freeze bread airtight to keep it from drying.")


def rank(driver: webdriver.Chrome, query: str = QUERY, documents: tuple[str, ...] = DOCUMENTS) -> None:
    fill(driver, "query", query)
    fill(driver, "documents", "\n".join(documents))
    driver.find_element(By.ID, "rank").click()


def rows(driver: webdriver.Chrome) -> list[str]:
    wait_for(driver, ".sl-result tbody tr")
    return [cell.text for cell in driver.find_elements(By.CSS_SELECTOR, ".sl-result .sl-text")]


def severe(driver: webdriver.Chrome) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]


def test_typed_documents_come_back_ranked(driver: webdriver.Chrome, server_url: str) -> None:
    open_page(driver, server_url)
    rank(driver)
    assert rows(driver)[0] == DOCUMENTS[2]
    assert len(rows(driver)) == 3
    scores = [float(cell.text) for cell in driver.find_elements(By.CSS_SELECTOR, ".sl-score b")]
    assert scores == sorted(scores, reverse=True)
    assert "3 documents" in wait_for(driver, ".sl-summary")
    assert "up 2 from line 3" in str(driver.find_element(By.CSS_SELECTOR, ".sl-up").get_attribute("title"))


def test_no_request_leaves_the_machine_and_the_console_is_quiet(driver: webdriver.Chrome, server_url: str) -> None:
    open_page(driver, server_url)
    rank(driver)
    rows(driver)
    names = driver.execute_script("return performance.getEntries().map(entry => entry.name)")
    addresses = [name for name in names if "://" in name]
    assert len(addresses) > 10
    assert {urlsplit(name).netloc for name in addresses} == {urlsplit(server_url).netloc}
    assert severe(driver) == []


def test_document_that_is_markup_is_shown_as_text(driver: webdriver.Chrome, server_url: str) -> None:
    hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    open_page(driver, server_url)
    rank(driver, "bread", (hostile, "bread"))
    assert hostile in rows(driver)
    assert driver.title == "Shortlist"


def test_empty_query_and_empty_documents_are_sentences(driver: webdriver.Chrome, server_url: str) -> None:
    open_page(driver, server_url)
    driver.find_element(By.ID, "rank").click()
    assert "Enter a query first" in wait_for(driver, ".sl-alert")
    fill(driver, "query", "bread")
    driver.find_element(By.ID, "rank").click()
    wait(driver).until(lambda browser: "at least one document" in browser.find_element(By.ID, "ranking").text)
    assert driver.find_element(By.CSS_SELECTOR, ".sl-alert").get_attribute("role") == "alert"


def test_number_of_results_can_be_limited(driver: webdriver.Chrome, server_url: str) -> None:
    open_page(driver, server_url)
    fill(driver, "top_n", "2")
    rank(driver)
    assert len(rows(driver)) == 2
    assert "Best 2 of 3 documents" in wait_for(driver, ".sl-summary")


def test_page_works_without_a_mouse(driver: webdriver.Chrome, server_url: str) -> None:
    open_page(driver, server_url)
    query = driver.find_element(By.CSS_SELECTOR, "#query textarea")
    query.send_keys("bread", Keys.TAB)
    documents = driver.switch_to.active_element
    assert documents.get_attribute("placeholder") == "One document per line"
    documents.send_keys("trains", Keys.ENTER, "bread")
    ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    assert rows(driver) == ["bread", "trains"]


def test_example_fills_the_form_and_ranks(driver: webdriver.Chrome, server_url: str) -> None:
    open_page(driver, server_url)
    driver.find_elements(By.CSS_SELECTOR, ".sl-examples button")[0].click()
    assert len(rows(driver)) == 6
    assert driver.find_element(By.CSS_SELECTOR, "#query textarea").get_attribute("value")


def test_every_field_has_a_name_for_a_screen_reader(driver: webdriver.Chrome, server_url: str) -> None:
    open_page(driver, server_url)
    fields = driver.find_elements(By.CSS_SELECTOR, ".sl-form textarea, .sl-form input, button")
    assert len(fields) >= 10
    assert [field.get_attribute("outerHTML") for field in fields if field.is_displayed() and not field.accessible_name] == []
    assert driver.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"


def test_chinese_browser_gets_a_chinese_page(server_url: str) -> None:
    with browsing(lang="zh-CN") as driver:
        open_page(driver, server_url)
        assert driver.find_element(By.ID, "rank").text == "开始排序"
        assert driver.find_element(By.TAG_NAME, "html").get_attribute("lang") == "zh-CN"
        assert driver.find_element(By.CSS_SELECTOR, ".sl-masthead").text.splitlines() == [
            "Shortlist",
            "候选再多，只留真正相关的几条。",
        ]
        rank(driver, "面包", ("火车", "面包"))
        assert rows(driver) == ["面包", "火车"]
        assert "2 篇文档" in wait_for(driver, ".sl-summary")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screen_needs_no_sideways_scrolling(server_url: str, scheme: str) -> None:
    with browsing(width=375, height=800, scheme=scheme) as driver:
        open_page(driver, server_url)
        rank(driver, "bread", ("bread " * 150, "a" * 300, "short"))
        rows(driver)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 375
        is_dark = driver.execute_script("return document.querySelector('.dark') !== null")
        assert is_dark == (scheme == "dark")


def test_page_takes_no_files_and_offers_no_side_doors(server_url: str) -> None:
    page = f"{server_url}/ui/gradio_api"
    assert httpx2.post(f"{page}/upload", files={"files": b"more than a byte"}).status_code == 413
    assert httpx2.get(f"{page}/file=/etc/passwd").status_code == 403
    assert httpx2.get(f"{page}/proxy=http://127.0.0.1:9/").is_error
    assert httpx2.get(f"{page}/mcp").is_error
    assert httpx2.get(f"{page}/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}


# -- what only the stand-in can be made to answer -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("busy", "The server is busy. Try again in 12 s."),
        ("slow", "did not finish in time"),
        ("gone", "The model is not available"),
    ],
)
def test_refusal_of_the_server_is_a_sentence(driver: webdriver.Chrome, standin_url: str, query: str, sentence: str) -> None:
    open_page(driver, standin_url)
    rank(driver, query)
    assert sentence in wait_for(driver, ".sl-alert")
    assert severe(driver) == []


# -- a server with keys ----------------------------------------------------------------------------------------------------


def test_page_works_for_whoever_signs_in_with_a_key(driver: webdriver.Chrome, locked_url: str) -> None:
    """The browser asks for the key, which is the password; the user name may be anything."""
    driver.get(locked_url.replace("://", "://anybody:open-sesame@") + "/v1/models")  # as if typed at the prompt
    open_page(driver, locked_url)
    rank(driver)
    assert rows(driver)[0] == DOCUMENTS[2]


def test_page_is_closed_without_a_key(locked_url: str) -> None:
    for path in ("/ui", "/ui/", "/ui/config", "/ui/gradio_api/upload", "/favicon.ico"):
        assert httpx2.get(locked_url + path).status_code == httpx2.codes.UNAUTHORIZED
