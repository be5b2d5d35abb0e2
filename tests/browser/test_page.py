"""The page in a real browser, with a real server and a real model.

Every test also checks, by `new_page`, that the page sends no request to other hosts and that the console stays empty.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from shortlist.config import ServerSettings
from shortlist.ui.files import MAX_FILE_BYTES
from tests.browser.chrome import TABS, expect_rows, fill, go, open_page, rows, try_example
from tests.browser.conftest import NewPage

pytestmark = pytest.mark.browser

QUERY = "freeze bread without drying it"
DOCUMENTS = ("Trains leave every hour.", "Bread was baked in Egypt.", "Freeze bread airtight to keep it from drying.")
GROUPS = (
    {"query": "bread", "documents": list(DOCUMENTS)},
    {"query": "railway", "documents": list(DOCUMENTS)},
)


def rank(page: Page, query: str = QUERY, documents: tuple[str, ...] = DOCUMENTS) -> None:
    fill(page, "query", query)
    fill(page, "documents", "\n".join(documents))
    page.locator("#rank").click()


def open_file(page: Page, path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    page.locator("#file").set_input_files(path)


def download(page: Page, name: str) -> str:
    with page.expect_download() as caught:
        page.get_by_role("link", name=name, exact=True).click()
    return caught.value.path().read_text(encoding="utf-8-sig")


# -- ranking ------------------------------------------------------------------------------------------------------------


def test_typed_documents_are_ranked_with_summary_and_raw_scores(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url)
    rank(page)
    assert rows(page)[0] == DOCUMENTS[2]
    assert len(rows(page)) == 3
    scores = [float(text) for text in page.locator(".sl-score b").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    summary = page.locator(".sl-summary")
    for fact in ("demo", "3 documents", "tokens", "tokenise", "wait", "compute"):
        expect(summary).to_contain_text(fact)
    assert page.locator(".sl-up").get_attribute("title") == "up 2 from line 3"
    page.locator("#rank").click()
    expect(summary).to_contain_text("3 of 3 from the cache")
    expect(page.locator(".sl-raw").last).to_be_hidden()
    page.get_by_label("Raw scores").check()
    expect(page.locator("td.sl-raw").first).to_have_text(re.compile(r"[+-]0\.\d{3}"))


def test_exports_equal_the_ranking_shown(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url)
    rank(page)
    shown = rows(page)
    assert [row["text"] for row in csv.DictReader(download(page, "CSV").splitlines())] == shown
    lines = [json.loads(line) for line in download(page, "JSONL").splitlines()]
    assert [line["text"] for line in lines] == shown
    page.get_by_text("The same in curl and Python").click()
    command = page.locator(".sl-code code").first.inner_text()
    assert command.startswith(f"curl -s {server_url}/v1/rerank")
    body = json.loads(command.partition("--data-binary '")[2].removesuffix("'"))
    answer = httpx2.post(f"{server_url}/v1/rerank", json=body).json()
    assert [result["document"]["text"] for result in answer["results"]] == shown


def test_long_document_is_chunked_or_truncated(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url)
    try_example(page, "A long document")
    expect(page.locator(".sl-text mark").first).to_contain_text("a rented bicycle has to be back by seven")
    expect(page.locator(".sl-passage")).to_have_text("best of 2 passages")
    page.locator("#overflow input").click()
    page.get_by_role("option", name="Cut the end").click()
    page.locator("#rank").click()
    expect(page.locator(".sl-cut")).to_have_text("cut")
    expect(page.locator(".sl-text mark")).to_have_count(0)


def test_markup_in_a_document_is_shown_as_text(new_page: NewPage, server_url: str) -> None:
    hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    page = open_page(new_page(), server_url)
    rank(page, "bread", (hostile, "bread"))
    assert hostile in rows(page)
    assert page.title() == "Shortlist"


def test_invalid_form_shows_a_message(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url)
    page.locator("#rank").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Enter a query first")
    fill(page, "query", "bread")
    page.locator("#rank").click()
    expect(alert).to_contain_text("at least one document")
    fill(page, "documents", "bread")
    fill(page, "instruction", "Given a crumb, find the loaf")
    page.locator("#rank").click()
    expect(alert).to_contain_text("This model takes no instruction")


def test_page_shows_one_language_at_a_time(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url)
    expect(page.get_by_text("Nothing ranked yet")).to_be_visible()
    expect(page.get_by_text("还没有结果")).to_be_hidden()
    expect(page.get_by_role("button", name="English")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("tab", name="Jobs")).to_have_count(0)  # this server takes none


def test_number_of_results_can_be_limited(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url)
    fill(page, "top_n", "2")
    rank(page)
    expect(page.locator(".sl-summary")).to_contain_text("Best 2 of 3 documents")
    assert len(rows(page)) == 2


def test_page_works_without_a_mouse(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url)
    expect(page.locator("#query textarea")).to_be_focused()
    page.keyboard.type("bread")
    page.keyboard.press("Tab")
    page.keyboard.type("trains")
    page.keyboard.press("Enter")
    page.keyboard.type("bread")
    page.keyboard.press("Shift+Enter")
    expect_rows(page, ["bread", "trains"])
    page.get_by_role("tab", name="Embed").focus()
    page.keyboard.press("Enter")
    page.locator("#texts textarea").press_sequentially("one\ntwo")
    page.locator("#embed").press("Enter")
    expect(page.locator(".sl-heat tbody td").first).to_have_text("1.00")


# -- files --------------------------------------------------------------------------------------------------------------


def test_table_file_and_its_column_choice(new_page: NewPage, server_url: str, tmp_path: Path) -> None:
    page = open_page(new_page(), server_url)
    open_file(page, tmp_path / "loaves.csv", "id,title,text\n1,Trains,Bread was baked.\n2,Bread,Trains leave.\n")
    card = page.locator(".sl-file")
    expect(card).to_contain_text("loaves.csv2 documents")
    expect(page.locator("#documents")).to_be_hidden()
    fill(page, "query", "bread")
    page.locator("#rank").click()
    expect_rows(page, ["Bread was baked.", "Trains leave."])
    page.locator("#column input").click()
    page.get_by_role("option", name="title").click()
    page.locator("#rank").click()
    expect(page.locator(".sl-text").first).to_have_text("Bread")
    card.get_by_text("Type instead").click()
    expect(page.locator("#documents")).to_be_visible()
    rank(page, "trains", ("bread", "trains"))
    expect(page.locator(".sl-text").first).to_have_text("trains")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_file_encoding_is_detected(new_page: NewPage, server_url: str, tmp_path: Path, encoding: str) -> None:
    page = open_page(new_page(), server_url)
    open_file(page, tmp_path / "a.csv", "编号,内容\n1,面包和面粉\n".encode(encoding))
    expect(page.locator(".sl-file")).to_contain_text("1 documents")
    fill(page, "query", "面包")
    page.locator("#rank").click()
    expect_rows(page, ["面包和面粉"])


def test_groups_of_a_file_are_ranked_for_their_own_query(new_page: NewPage, server_url: str, tmp_path: Path) -> None:
    page = open_page(new_page(), server_url)
    open_file(page, tmp_path / "groups.jsonl", "\n".join(json.dumps(group) for group in GROUPS))
    expect(page.locator(".sl-file")).to_contain_text("2 queries with 6 documents")
    page.locator("#rank").click()
    groups = page.locator(".sl-group")
    expect(groups).to_have_count(2)
    groups.last.locator("> summary").click()
    expect(groups.first.locator(".sl-text").first).to_have_text(re.compile("Bread|bread"))
    expect(groups.last.locator(".sl-text").first).to_have_text(DOCUMENTS[0])
    assert len(download(page, "JSONL").splitlines()) == 6


def test_invalid_file_shows_a_message(new_page: NewPage, server_url: str, tmp_path: Path) -> None:
    page = open_page(new_page(), server_url)
    alert = page.get_by_role("alert")
    open_file(page, tmp_path / "broken.jsonl", '"a"\n{')
    expect(alert).to_contain_text("Line 2 of the file is not JSON.")
    open_file(page, tmp_path / "large.txt", b"x" * (MAX_FILE_BYTES + 1))
    expect(alert).to_contain_text("larger than 16 MiB")
    expect(page.locator("#documents")).to_be_visible()


def test_uploads_and_large_forms_are_refused(server_url: str) -> None:
    """The browser reads files; Gradio's upload route is closed, and forms above the body limit get 413."""
    refused = httpx2.post(f"{server_url}/ui/gradio_api/upload", files={"files": ("a.txt", b"xx")})
    assert refused.status_code == httpx2.codes.NOT_FOUND
    endless = httpx2.post(
        f"{server_url}/ui/gradio_api/queue/join", content=b" " * (ServerSettings().max_body_bytes + 1), timeout=60
    )
    assert endless.status_code == httpx2.codes.CONTENT_TOO_LARGE


# -- the other tabs -----------------------------------------------------------------------------------------------------


def test_comparison_of_two_queries_draws_the_moves(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url, "compare")
    try_example(page, "One word, two meanings")
    expect(page.locator(".sl-verdict")).to_contain_text("The best document is another one.")
    left, right = (page.locator(f".sl-slope .sl-{side} span").all_inner_texts() for side in ("left", "right"))
    assert left != right
    assert sorted(left) == sorted(right)
    expect(page.locator(".sl-slope path")).to_have_count(len(left))


def test_map_shows_similar_texts(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url, "embed")
    fill(page, "texts", "Bread is baked in an oven.\nThe loaf comes out of the oven.\nTrains run on rails.")
    page.locator("#embed").click()
    cells = page.locator(".sl-heat tbody td")
    expect(cells).to_have_count(9)
    cosines = [float(text) for text in cells.all_inner_texts()]
    assert cosines[1] > cosines[2]
    expect(page.locator(".sl-summary")).to_contain_text("384 dimensions")


def test_status_is_updated_only_while_its_tab_is_open(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url, "status")
    expect(page.locator(".sl-panel")).to_have_count(6)
    expect(page.locator(".sl-state")).to_contain_text("Ready")
    body = {"query": "q", "documents": ["a", "b"]}
    for number in range(20):
        assert httpx2.post(f"{server_url}/v1/rerank", json={**body, "query": f"q{number}"}).status_code == 200
    expect(page.locator(".sl-panel").first.locator("output")).not_to_have_text("0")
    expect(page.locator(".sl-panel svg").first).to_have_attribute("aria-label", re.compile(r"^Requests per second: now "))
    page.get_by_role("tab", name="Rerank").click()
    page.wait_for_timeout(300)
    before = sum("queue/join" in url for url in _requested_urls(page))
    page.wait_for_timeout(2500)
    assert sum("queue/join" in url for url in _requested_urls(page)) == before


def _requested_urls(page: Page) -> list[str]:
    found: list[str] = page.evaluate("() => performance.getEntriesByType('resource').map((each) => each.name)")
    return found


# -- languages, sizes, accessibility ------------------------------------------------------------------------------------


def test_chinese_browser_gets_a_chinese_page_and_can_switch(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(lang="zh-CN"), server_url)
    expect(page.locator("#rank")).to_have_text("开始排序")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    rank(page, "面包", ("火车", "面包"))
    expect(page.locator(".sl-summary")).to_contain_text("2 篇文档")
    page.get_by_role("button", name="English").click()
    expect(page.locator("#rank")).to_have_text("Rank")
    expect(page.locator("#query textarea")).to_have_value("面包")
    expect(page.locator("#preset input")).to_have_value("Model’s default")
    page.locator("#rank").click()
    expect(page.locator(".sl-summary")).to_contain_text("2 documents")
    page.get_by_role("button", name="中文", exact=True).click()
    expect(page.locator("#rank")).to_have_text("开始排序")


def test_tab_has_its_own_url_hash(new_page: NewPage, server_url: str) -> None:
    page = open_page(new_page(), server_url)
    page.get_by_role("tab", name="Compare").click()
    assert page.url.endswith("#compare")
    page.reload()
    expect(page.locator("#compare")).to_be_visible()
    page.evaluate("location.hash = 'embed'")
    expect(page.locator("#texts")).to_be_visible()


@pytest.mark.parametrize(("lang", "scheme"), [("en-US", "light"), pytest.param("zh-CN", "dark", marks=pytest.mark.full)])
def test_page_is_accessible_in_every_tab(new_page: NewPage, server_url: str, lang: str, scheme: str) -> None:
    page = open_page(new_page(lang=lang, scheme=scheme), server_url)
    for tab in TABS:
        go(page, tab)
        if tab == "status":
            page.locator(".sl-panel").first.wait_for()
        else:
            try_example(page, None)
        found: list[dict[str, Any]] = Axe().run(page).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found if each["impact"] in SERIOUS] == []


SERIOUS = {"serious", "critical"}


@pytest.mark.parametrize("lang", ["en-US", pytest.param("zh-CN", marks=pytest.mark.full)])
def test_narrow_window_shows_everything_and_brings_the_answer_into_view(new_page: NewPage, server_url: str, lang: str) -> None:
    page = open_page(new_page(width=390, height=700, lang=lang), server_url)
    for tab in TABS:
        go(page, tab)
        if tab == "status":
            page.locator(".sl-panel").first.wait_for()
        else:
            try_example(page, None)
            expect(page.locator(".sl-result:visible")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
