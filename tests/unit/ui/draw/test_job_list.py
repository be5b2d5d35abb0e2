"""Jobs and batches as HTML: what they do, how far they are, and what can be done with them."""

from __future__ import annotations

import base64
import json
import re

import pytest

from shortlist.ui.draw.job_list import MAX_RESULT_CHARS, PageJob, batch_result_html, failure_html, jobs_html, result_html
from shortlist.ui.i18n import CHINESE, ENGLISH

NOW_S = 1_700_000_000.0


def job(status: str = "succeeded", **fields: object) -> PageJob:
    given: dict[str, object] = {"id": "job_1", "status": status, "path": "/v1/rerank", "created_at": NOW_S - 200, **fields}
    return PageJob(**given)  # type: ignore[arg-type]


def item(each: PageJob) -> str:
    html = jobs_html([each], ENGLISH, now_s=NOW_S)
    return html[html.index("<li") : html.index("</ul>")]


def facts(each: PageJob) -> list[str]:
    return re.findall(r"<span>([^<]*)</span>", item(each).partition("sl-job-facts")[2])


def test_open_jobs_come_first_and_the_newest_of_each() -> None:
    jobs = [
        job("succeeded", id="a", created_at=NOW_S - 1),
        job("queued", id="b", created_at=NOW_S - 9),
        job("running", id="c", created_at=NOW_S - 5),
        job("failed", id="d", created_at=NOW_S),
    ]
    html = jobs_html(jobs, ENGLISH, now_s=NOW_S)
    assert re.findall(r"<code>(\w)</code>", html) == ["c", "b", "d", "a"]
    assert "<span>2 open</span><span>2 ended</span>" in html


def test_no_jobs_say_how_there_are_some() -> None:
    html = jobs_html([], CHINESE, now_s=NOW_S)
    assert CHINESE.jobs_empty in html
    assert "Prefer: respond-async" in html


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (job("queued"), ["accepted 3 min ago"]),
        (job("queued", created_at=NOW_S - 59), ["accepted less than a minute ago"]),
        (job("queued", created_at=NOW_S + 5), ["accepted less than a minute ago"]),
        (job(finished_at=NOW_S - 200), ["accepted 3 min ago"]),
        (job(finished_at=NOW_S - 190, attempts=3), ["accepted 3 min ago", "took 10 s", "attempt 3"]),
        (job(created_at=NOW_S - 90_000, finished_at=NOW_S - 82_000), ["accepted 1 d ago", "took 2 h"]),
        (job(webhook="failed", webhook_reason="status 500"), ["accepted 3 min ago", "webhook failed: status 500"]),
        (
            job("in_progress", total=5000, completed=1200, failed=34),
            ["1,234 of 5,000 requests", "34 failed", "accepted 3 min ago"],
        ),
    ],
)
def test_facts_are_those_that_are_known(each: PageJob, expected: list[str]) -> None:
    assert facts(each) == expected


@pytest.mark.parametrize(
    ("status", "total", "actions", "width"),
    [
        ("queued", 0, ["cancel"], None),
        ("running", 0, ["cancel"], None),
        ("in_progress", 4, ["cancel"], "25.0%"),
        ("cancelling", 4, [], "25.0%"),
        ("succeeded", 0, ["result"], None),
        ("completed", 4, ["result"], None),
        ("failed", 0, ["result"], None),
        ("cancelled", 0, [], None),
        ("expired", 0, [], None),
    ],
)
def test_status_decides_on_buttons_and_progress(status: str, total: int, actions: list[str], width: str | None) -> None:
    html = item(job(status, total=total, completed=total // 4))
    assert re.findall(r'data-job="(\w+)"', html) == actions
    assert ("sl-track" in html) is (width is not None)
    assert re.findall(r"width:([^\"]*)", html) == ([width] if width else [])


def test_texts_of_others_are_escaped() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    html = item(job("<b>", path=hostile, id=hostile)) + failure_html(hostile, hostile, ENGLISH)
    assert "<img" not in html
    assert "<b>" not in html.replace('<b class="', "")


def test_result_is_shown_cut_and_downloaded_whole() -> None:
    result = {"results": ["ü" * MAX_RESULT_CHARS], "html": "</code><script>"}
    html = result_html("job_1", result, ENGLISH)
    [data] = re.findall(r"base64,([^\"]+)", html)
    assert json.loads(base64.b64decode(data)) == result
    assert "<script>" not in html
    assert len(html) < 2 * MAX_RESULT_CHARS + len(data)
    assert html.count("…") == 1


def test_result_of_a_batch_is_a_command() -> None:
    html = batch_result_html("batch_1", "http://server", ENGLISH)
    assert "shortlist jobs wait batch_1 --url http://server &gt; batch_1.jsonl" in html
