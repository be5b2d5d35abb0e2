"""`shortlist jobs` and the client's methods, against a server and a worker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from shortlist.cli.jobs_command import duration
from shortlist.client import Client, EmbedRequest, RerankRequest
from shortlist.errors import Gone, InputTooLong, UnknownModel
from tests.jobs.conftest import http_client
from tests.support.job_site import JobServer
from tests.support.terminal import terminal

KEY = "key-of-a"
REQUEST = RerankRequest(query="bread", documents=["trains", "bread"])
TOO_LONG = {"query": "bread", "documents": ["a " * 20_000], "on_overflow": "error"}


def jobs(site: JobServer, command: str, *arguments: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "shortlist", "jobs", command, *arguments, "--url", site.url]
    environ = {**os.environ, "SHORTLIST_API_KEY": key}  # noqa: TID251
    return subprocess.run(whole, env=environ, capture_output=True, text=True, check=False, timeout=60)


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_jobs_are_listed_shown_waited_for_and_cancelled(site: JobServer) -> None:
    with Client(site.url, api_key=KEY) as client:
        first, second = client.submit(REQUEST), client.submit(REQUEST, webhook="http://127.0.0.1:9/")
        expected = client.rerank(REQUEST.query, REQUEST.documents)
        ranking = client.wait(first, timeout_s=30)
        assert [(each.index, each.score) for each in ranking.results] == [(each.index, each.score) for each in expected.results]
        assert [each.status for each in client.events(first)] == ["queued", "running", "succeeded"]
    waited = lines(jobs(site, "wait", first.id, second.id))
    assert [[each["index"] for each in result["results"]] for result in waited] == [[1, 0], [1, 0]]
    listed = {each["id"]: each for each in lines(jobs(site, "list"))}
    assert listed.keys() >= {first.id, second.id}
    [shown] = lines(jobs(site, "show", second.id))
    assert (shown["status"], shown["path"], shown["webhook"]["url"]) == ("succeeded", "/v1/rerank", "http://127.0.0.1:9/")
    assert jobs(site, "cancel", first.id).returncode == 0
    with Client(site.url, api_key=KEY) as client, pytest.raises(Gone):
        client.result(first)


def test_other_callers_see_none_of_them(site: JobServer) -> None:
    with Client(site.url, api_key=KEY) as client:
        job = client.submit(REQUEST)
    assert lines(jobs(site, "list", key="key-of-b")) == []
    refused = jobs(site, "wait", job.id, key="key-of-b")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "no such job" in refused.stderr


def test_failed_job_is_told_beside_the_others(site: JobServer) -> None:
    with Client(site.url, api_key=KEY) as client, http_client(site, KEY) as http:
        accepted = http.post("/v1/jobs", json={"path": "/v1/rerank", "body": TOO_LONG}).raise_for_status()
        failing, fine = client.job(accepted.json()["id"]), client.submit(REQUEST)
        with pytest.raises(InputTooLong):
            client.wait(failing, timeout_s=30)
    done = jobs(site, "wait", failing.id, fine.id)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
    assert f"error: {failing.id}: " in done.stderr


def test_terminal_shows_a_table(site: JobServer) -> None:
    with Client(site.url, api_key=KEY) as client:
        job = client.submit(REQUEST)
        client.wait(job, timeout_s=30)
    with terminal("jobs", "show", job.id, "--url", site.url, SHORTLIST_API_KEY=KEY) as shown:
        assert shown.end() == 0
    assert re.search(rf"job +status +path +age +took +progress +webhook\n{job.id} +succeeded +/v1/rerank +\d+ s", shown.screen)


def test_batch_is_computed_listed_shown_and_waited_for(site: JobServer) -> None:
    requests = [RerankRequest(query=name, documents=["trains", "bread"]) for name in ("bread", "trains", "rails")]
    failing = RerankRequest(query="bread", documents=["bread"], model="unknown")
    with Client(site.url, api_key=KEY) as client:
        done = {each.position: each for each in client.batch([*requests, failing])}
        expected = [client.rerank(each.query, each.documents).results for each in requests]
        with pytest.raises(UnknownModel):
            _ = done[3].ranking
        [batch] = client.batches()
    scores = [[each.score for each in done[position].ranking.results] for position in range(3)]
    assert scores == [[each.score for each in results] for results in expected]
    counts = {"total": 4, "completed": 3, "failed": 1}
    [shown] = lines(jobs(site, "show", batch["id"]))
    assert (shown["status"], shown["path"], shown["request_counts"]) == ("completed", "/v1/rerank", counts)
    assert batch["id"] in [each["id"] for each in lines(jobs(site, "list"))]
    with Client(site.url, api_key=KEY) as client:
        embedded = list(client.batch([EmbedRequest(texts=["a", "b"])]))
    assert [len(each.embeddings.vectors) for each in embedded] == [2]


def test_secret_of_webhooks_is_printed_and_replaced(site: JobServer) -> None:
    first = jobs(site, "secret", key="key-of-b").stdout
    assert re.fullmatch(r"whsec_\S+\n", first)
    assert jobs(site, "secret", "--rotate", key="key-of-b").stdout != first


def test_server_without_jobs_says_so(site: JobServer) -> None:
    done = jobs(site, "list", "--api-key", "wrong")
    assert done.returncode == 3
    assert "API key" in done.stderr


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (90_000, "1 d"), (200_000, "2 d")]
)
def test_durations_have_their_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
