"""The programs of docs/jobs.md are run as the page shows them: the client, and a webhook from curl to its receiver."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("redis")
pytest.importorskip("standardwebhooks")

from tests.support.job_site import JobServer, job_site
from tests.support.process import wait_until
from tests.support.redis_server import missing_redis
from tests.support.serving import free_port

PAGE = Path("docs/jobs.md").read_text(encoding="utf-8")
SERVER, RECEIVER = "http://localhost:8080", 9000


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.DOTALL | re.MULTILINE)


def test_both_languages_show_the_same_programs() -> None:
    chinese = Path("docs/jobs.zh-CN.md").read_text(encoding="utf-8")
    shown = [block for title in ("In Python", "Webhooks") for block in (*blocks(title, "python"), *blocks(title, "bash"))]
    assert len(shown) == 4
    assert [block for block in shown if block not in chinese] == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServer]:
    if missing := missing_redis():
        pytest.skip(missing)
    shared = {"job_doorbell": "streams", "webhook_target": "127.0.0.1"}
    with job_site(tmp_path_factory.mktemp("site")) as site:
        started: JobServer = site.server(**shared)
        worker = site.worker(started.url, **shared)
        started.wait()
        worker.wait()
        yield started


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with the programs that the page names."""
    for name, module in (("shortlist", " -m shortlist"), ("python", "")):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {sys.executable}{module} "$@"\n')
        (tmp_path / name).chmod(0o755)
    kept = dict(os.environ)  # noqa: TID251
    return {**kept, "PATH": f"{tmp_path}:{kept['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}


def test_client_submits_and_waits(server: JobServer, environ: dict[str, str]) -> None:
    [program] = blocks("In Python", "python")
    program = program[: program.index("    for done in client.batch")].replace(SERVER, server.url)
    done = subprocess.run(["python", "-c", program], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("call json.load\n", "")


def test_webhook_gets_from_curl_to_its_receiver(server: JobServer, environ: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    [receiver], [_, script] = blocks("Webhooks", "python"), blocks("Webhooks", "bash")
    (tmp_path / "receiver.py").write_text(receiver.replace(str(RECEIVER), str(port)))
    script = script.replace(SERVER, server.url).replace(f":{RECEIVER}/", f":{port}/")
    wrapped = f"set -e; trap 'kill %1' EXIT\n{script}\nuntil [ -s events.txt ]; do sleep 0.1; done"
    done = subprocess.run(
        ["bash", "-c", wrapped], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=100, check=False
    )
    assert '"status":"queued"' in done.stdout, done.stderr
    wait_until(lambda: bool((tmp_path / "events.txt").read_text()))
    assert "prints `job.succeeded 1`" in section("Webhooks")
    assert (tmp_path / "events.txt").read_text() == "job.succeeded 1\n"
