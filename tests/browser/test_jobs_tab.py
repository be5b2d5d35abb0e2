"""The jobs tab in a real browser, with a server that takes jobs and a worker that starts late."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

pytest.importorskip("redis")

from tests.browser.conftest import NewPage
from tests.support.job_site import JobServer, Site, job_site, rerank_body, submitted
from tests.support.redis_server import missing_redis

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if missing := missing_redis():
        pytest.skip(missing)
    with job_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def server(site: Site) -> JobServer:
    started: JobServer = site.server(job_doorbell="streams", ui="true")
    started.wait()
    return started


def open_jobs(page: Page, server: JobServer) -> Page:
    page.goto(f"{server.url}/ui/#jobs")
    page.locator("#jobs [lang]:visible").first.wait_for()
    return page


def test_jobs_are_followed_cancelled_and_read_while_the_tab_is_open(new_page: NewPage, site: Site, server: JobServer) -> None:
    page = open_jobs(new_page().page, server)
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    done, dropped = (submitted(server.url, rerank_body(number)) for number in range(2))
    first, second = (page.locator(".sl-jobs li").filter(has_text=job_id) for job_id in (done, dropped))
    expect(first.locator(".sl-job-status")).to_have_text("Waiting")
    expect(page.locator(".sl-state")).to_contain_text("2 open")
    page.on("dialog", lambda dialog: dialog.accept())
    second.get_by_role("button", name="Cancel").click()
    expect(second.locator(".sl-job-status")).to_have_text("Cancelled")
    assert httpx2.get(f"{server.url}/v1/jobs/{dropped}").json()["status"] == "cancelled"
    site.worker(server.url, job_doorbell="streams")
    expect(first.locator(".sl-job-status")).to_have_text("Done")
    first.get_by_role("button", name="Result").click()
    expect(page.locator(".sl-job-result pre")).to_contain_text("relevance_score")
    with page.expect_download() as caught:
        page.locator(".sl-job-result").get_by_role("link", name="JSON").click()
    assert caught.value.suggested_filename == f"{done}.json"
    found = Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in {"serious", "critical"}] == []
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".sl-job-result")).to_have_count(0)


def test_jobs_are_shown_on_a_narrow_chinese_page(new_page: NewPage, server: JobServer) -> None:
    job_id = submitted(server.url, rerank_body(2))
    page = open_jobs(new_page(width=390, height=700, lang="zh-CN").page, server)
    job = page.locator(".sl-jobs li").filter(has_text=job_id)
    expect(job.locator(".sl-job-status")).to_have_text("已完成")
    expect(job).to_contain_text("不到 1 分钟前受理")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
