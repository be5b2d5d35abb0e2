"""The guide to durable jobs: its table is that of the tests, and its commands are run."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_deploy import blocks
from tests.support.job_failures import BEGIN, CHINESE, END, ENGLISH, FAILURES, english
from tests.support.job_site import JobServer, job_site
from tests.support.redis_server import missing_redis

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/jobs.md").read_text(encoding="utf-8")
COMMANDS = [block for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) if "curl" in block]


@pytest.mark.parametrize("beginning", sorted({test for failure in FAILURES for test in failure.tests}))
def test_named_tests_exist(beginning: str) -> None:
    path, _, name = beginning.partition("::")
    assert re.search(rf"^(?:async )?def {name}", (ROOT / path).read_text(), re.MULTILINE)


def test_pages_have_the_table() -> None:
    for failure in FAILURES:
        for page, cells in ((ENGLISH, failure.english), (CHINESE, failure.chinese)):
            table = (ROOT / page).read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
            assert f"| {' | '.join(cells)} |" in table


def test_table_says_what_was_not_seen() -> None:
    counts = {failure: Counter[str]() for failure in FAILURES}
    first, second, third, *_ = FAILURES
    counts[first].update(passed=2)
    counts[second].update(passed=1, failed=1)
    counts[third].update(passed=1, skipped=1)
    shown = [line.split("|")[-2].strip() for line in list(english(counts))[2:6]]
    assert shown == ["yes", "**no**", "not tested here", "not tested here"]


def test_both_languages_show_the_same_code_sections_and_rows() -> None:
    assert blocks(ROOT / ENGLISH) == blocks(ROOT / CHINESE)
    for pattern in (r"^#+ ", r"^\| ", r"^- "):
        counts = [
            len(re.findall(pattern, (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)) for page in (ENGLISH, CHINESE)
        ]
        assert counts[0] == counts[1], pattern


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=str)
def test_linked_files_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServer]:
    pytest.importorskip("celery")
    if missing := missing_redis():
        pytest.skip(missing)
    with job_site(tmp_path_factory.mktemp("jobs")) as site:
        server = site.server()
        server.wait()
        site.worker(server.url).wait()
        yield server


def test_commands_submit_follow_fetch_and_remove_a_job(server: JobServer) -> None:
    submit, then = (block.replace("http://localhost:8080", server.url) for block in COMMANDS)
    submitted = shell(submit)
    assert '"status":"queued"' in submitted
    assert shell(submit).partition('"status"')[0] == submitted.partition('"status"')[0]  # one idempotency key, one job
    shown = shell(then)
    assert [word for word in ("event: queued", "event: running", "event: succeeded") if word in shown] != []
    assert shown.index("event: succeeded") < shown.index('"status":"succeeded"') < shown.index('"relevance_score"')
    assert shown.rindex('"status":"expired"') > shown.index('"relevance_score"')


def shell(script: str) -> str:
    return subprocess.run(["bash", "-ec", script], capture_output=True, text=True, timeout=100, check=True).stdout
