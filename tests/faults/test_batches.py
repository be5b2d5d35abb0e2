"""Files and batches with the real client and real processes: what was accepted ends, every line once, whatever is killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2
import openai
import pytest
from openai.types import Batch

from tests.support.job_site import JobServer, JobWorker, Program, Site, job_site
from tests.support.process import wait_until
from tests.support.redis_server import missing_redis
from tests.support.s3_server import new_bucket, s3_server, variables

pytest.importorskip("celery")
if missing := missing_redis():
    pytest.skip(missing, allow_module_level=True)

PATIENCE_S: Final = 60.0
NUM_KILLS: Final = int(os.environ.get("BATCH_KILLS", "5"))  # noqa: TID251 - more for a soak
ENDED: Final = {"completed", "failed", "expired", "cancelled"}
KEYS: Final = "alice:write:a\nalice:read:r\nbob:write:b\npool:worker:k\n"


class Deployment:
    """Servers, workers and clients of one Redis."""

    def __init__(self, site: Site, files: str, **flags: object) -> None:
        (site.folder / "keys").write_text(KEYS)
        self.site = site
        self.files = files
        self.flags = {"job_files": files, "api_key_file": site.folder / "keys", "job_doorbell": "streams", **flags}
        self.server = self.start_server()

    def start_server(self) -> JobServer:
        server: JobServer = self.site.server(**self.flags)
        server.wait()
        return server

    def start_worker(self) -> JobWorker:
        worker: JobWorker = self.site.worker(self.server.url, job_doorbell="streams", api_key="k", lease_s=2)
        return worker

    def client(self, key: str = "a") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.server.url}/v1", api_key=key, max_retries=0, timeout=30)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("batches")
    with job_site(folder) as site:
        deployment = Deployment(site, str(folder / "files"))
        deployment.start_worker().wait()
        yield deployment


@pytest.fixture
def client(deployment: Deployment) -> openai.OpenAI:
    return deployment.client()


def request_line(number: int, **changes: Any) -> dict[str, Any]:
    body = {"query": f"red fox {number}", "documents": [f"a red fox {number}", f"blue {number}"]}
    return {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/rerank", "body": body, **changes}


def upload(client: openai.OpenAI, lines: list[dict[str, Any]]) -> str:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return client.files.create(file=("lines.jsonl", content), purpose="batch").id


def create(client: openai.OpenAI, lines: list[dict[str, Any]], **options: Any) -> Batch:
    given: Any = {"endpoint": "/v1/rerank", "completion_window": "24h", **options}
    return client.batches.create(input_file_id=upload(client, lines), **given)


def wait_for(
    client: openai.OpenAI, batch: Batch, condition: Callable[[Batch], bool] = lambda batch: batch.status in ENDED
) -> Batch:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(openai.APIConnectionError, openai.InternalServerError):  # servers and Redis may be away
            batch = client.batches.retrieve(batch.id)
            if condition(batch):
                return batch
        time.sleep(0.05)
    raise AssertionError(batch)


def rows(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    """Return the lines of a file by custom id; no id may be there twice."""
    if file_id is None:
        return {}
    lines = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    found = {line["custom_id"]: line for line in lines}
    assert len(found) == len(lines)
    return found


def synchronous(deployment: Deployment, line: dict[str, Any]) -> Any:
    return httpx2.post(
        f"{deployment.server.url}{line['url']}", json=line["body"], headers={"Authorization": "Bearer a"}
    ).json()["results"]


def stored(deployment: Deployment) -> set[str]:
    return {path.name for path in Path(deployment.files).iterdir()}


# -- files --------------------------------------------------------------------------------------------------------------


def test_file_is_uploaded_listed_read_and_deleted(client: openai.OpenAI) -> None:
    content = b"".join(b'{"custom_id": "%d"}\n' % number for number in range(50_000))
    file = client.files.create(file=("my lines.jsonl", content), purpose="batch")
    assert (file.bytes, file.filename, file.purpose, file.object) == (len(content), "my lines.jsonl", "batch", "file")
    assert file.expires_at == file.created_at + 2_592_000
    assert client.files.retrieve(file.id) == file
    assert file.id in {each.id for each in client.files.list()}
    assert client.files.content(file.id).content == content
    assert client.files.delete(file.id).deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            gone(file.id)


def test_pages_of_a_list_are_followed(client: openai.OpenAI) -> None:
    ids = [upload(client, [request_line(number)]) for number in range(5)]
    assert [each.id for each in client.files.list(limit=2)][:5] == ids[::-1]
    assert [each.id for each in client.files.list(limit=2, order="asc")][-5:] == ids
    assert {each.purpose for each in client.files.list(purpose="batch")} == {"batch"}


def test_expiry_is_as_asked(client: openai.OpenAI) -> None:
    expiry: Any = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("a", b"x"), purpose="batch", expires_after=expiry)
    assert file.expires_at == file.created_at + 3600


def test_files_are_their_owners_by_any_of_its_keys(deployment: Deployment, client: openai.OpenAI) -> None:
    file_id = upload(client, [request_line(1)])
    reader, stranger = deployment.client("r"), deployment.client("b")
    assert reader.files.retrieve(file_id).id == file_id
    with pytest.raises(openai.PermissionDeniedError):
        reader.files.delete(file_id)
    for call in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(file_id)
    assert file_id not in {each.id for each in stranger.files.list()}
    with pytest.raises(openai.NotFoundError):
        stranger.batches.create(input_file_id=file_id, endpoint="/v1/embeddings", completion_window="24h")
    assert client.files.retrieve(file_id).id == file_id


def test_name_of_a_client_is_no_path(deployment: Deployment, client: openai.OpenAI) -> None:
    before = stored(deployment)
    file = client.files.create(file=("../../../etc/passwd", b"x"), purpose="batch")
    assert stored(deployment) - before == {file.id}
    for path in ("../keys", "..%2Fkeys", "%2Fetc%2Fpasswd", f"{file.id}/../{file.id}"):
        answer = httpx2.get(f"{deployment.server.url}/v1/files/{path}/content", headers={"Authorization": "Bearer a"})
        assert answer.status_code == 404 or answer.content == b"x"


def test_large_file_is_never_whole_in_memory(deployment: Deployment, client: openai.OpenAI) -> None:
    def peak_kib() -> int:
        assert deployment.server.process is not None
        status = Path(f"/proc/{deployment.server.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    upload(client, [request_line(1)])
    before_kib = peak_kib()
    content = b"0123456789abcdef" * (1 << 22)
    file = client.files.create(file=("large", content), purpose="batch")
    assert client.files.content(file.id).content == content
    assert peak_kib() - before_kib < 32 * 1024
    client.files.delete(file.id)


@pytest.mark.parametrize("purpose", ["fine-tune", ""])
def test_refused_upload_leaves_no_file(deployment: Deployment, client: openai.OpenAI, purpose: Any) -> None:
    before = stored(deployment)
    with pytest.raises(openai.BadRequestError) as refusal:
        client.files.create(file=("a", b"text"), purpose=purpose)
    assert refusal.value.param == "purpose"
    assert stored(deployment) == before


def test_upload_that_is_cut_off_leaves_no_file(deployment: Deployment) -> None:
    before = stored(deployment)
    host, _, port = deployment.server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as wire:
        head = "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nContent-Length: 1000000\r\n"
        wire.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode())
        wire.sendall(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 5000)
        wait_until(lambda: len(stored(deployment)) > len(before), PATIENCE_S)
    wait_until(lambda: stored(deployment) == before, PATIENCE_S)


# -- batches ------------------------------------------------------------------------------------------------------------


def test_batch_answers_every_line_as_the_server_does(deployment: Deployment, client: openai.OpenAI) -> None:
    lines = [request_line(number) for number in range(100)]
    batch = create(client, lines, metadata={"for": "a test"})
    assert (batch.object, batch.metadata, batch.completion_window) == ("batch", {"for": "a test"}, "24h")
    assert batch.expires_at == batch.created_at + 86_400
    batch = wait_for(client, batch)
    assert batch.status == "completed"
    counts = batch.request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (100, 100, 0)
    assert batch.error_file_id is None
    found = rows(client, batch.output_file_id)
    assert set(found) == {line["custom_id"] for line in lines}
    for line in lines[::25]:
        row = found[line["custom_id"]]
        assert row["error"] is None
        assert row["response"]["status_code"] == 200
        assert row["response"]["body"]["results"] == synchronous(deployment, line)
    assert batch.output_file_id is not None
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"
    assert batch.id in {each.id for each in client.batches.list(limit=1)}


def test_bad_line_fails_alone(client: openai.OpenAI) -> None:
    bad = {3: {}, 40: {"query": "q", "documents": ["#fail"]}, 41: {"query": "q", "documents": ["a"], "model": "unknown"}}
    batch = wait_for(client, create(client, [request_line(n, body=bad[n]) if n in bad else request_line(n) for n in range(60)]))
    counts = batch.request_counts
    assert counts is not None
    assert (batch.status, counts.total, counts.completed, counts.failed) == ("completed", 60, 57, 3)
    failed = rows(client, batch.error_file_id)
    assert {name: row["response"]["status_code"] for name, row in failed.items()} == {
        "line-3": 400,
        "line-40": 500,
        "line-41": 404,
    }
    assert "error" in failed["line-3"]["response"]["body"]
    assert set(rows(client, batch.output_file_id)) == {f"line-{n}" for n in range(60)} - set(failed)


def test_input_that_is_wrong_fails_with_its_line_numbers(client: openai.OpenAI) -> None:
    lines = [
        request_line(1),
        request_line(2),
        request_line(1),
        request_line(3, url="/v1/embeddings"),
        request_line(4, method="GET"),
    ]
    batch = wait_for(client, create(client, lines))
    assert batch.status == "failed"
    assert batch.failed_at is not None
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(each.code, each.line, each.param) for each in batch.errors.data] == [
        ("duplicate_custom_id", 3, "custom_id"),
        ("invalid_url", 4, "url"),
        ("invalid_method", 5, "method"),
    ]
    assert (batch.output_file_id, batch.error_file_id) == (None, None)


@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/jobs", "/v1/batches", "/internal/batch-step", ""])
def test_endpoint_must_be_a_task(client: openai.OpenAI, endpoint: str) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        create(client, [request_line(1)], endpoint=endpoint)
    assert refusal.value.param == "endpoint"


def test_batch_is_its_owners(deployment: Deployment, client: openai.OpenAI) -> None:
    batch = create(client, [request_line(1)])
    stranger = deployment.client("b")
    for call in (stranger.batches.retrieve, stranger.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            call(batch.id)
    assert batch.id not in {each.id for each in stranger.batches.list()}
    batch = wait_for(client, batch)
    with pytest.raises(openai.NotFoundError):
        stranger.files.content(str(batch.output_file_id))


def test_step_needs_the_lease_of_its_job(deployment: Deployment, client: openai.OpenAI) -> None:
    batch = create(client, [request_line(1)])
    for key in ("a", "b", "k"):
        headers = {"Authorization": f"Bearer {key}", "x-job-lease": f"{batch.id}.finish:0123456789abcdef"}
        answer = httpx2.post(f"{deployment.server.url}/internal/batch-step", json={}, headers=headers)
        assert answer.status_code in {403, 404}
    wait_for(client, batch)


@pytest.mark.parametrize("page", ["docs/batches.md", "docs/batches.zh-CN.md"])
def test_documented_example_runs(deployment: Deployment, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    [example] = re.findall(r"```python\n(.*?)```", Path(page).read_text(encoding="utf-8"), re.DOTALL)
    for shown, actual in (
        ("http://localhost:8080", deployment.server.url),
        ('"none"', '"a"'),
        ("time.sleep(1)", "time.sleep(0.1)"),
    ):
        assert shown in example
        example = example.replace(shown, actual)
    exec(compile(example, page, "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == {f"doc-{number}" for number in range(100)}
    assert all("relevance_score" in line for line in lines)


# -- cancel, kill -------------------------------------------------------------------------------------------------------

SLOW: Final = 0.02
"""A line's engine batch takes so long in `slow`."""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Serve with an engine whose batches take time."""
    folder = tmp_path_factory.mktemp("slow")
    with job_site(folder) as site:
        yield Deployment(site, str(folder / "files"), step_s=SLOW)


def completed(batch: Batch) -> int:
    return batch.request_counts.completed if batch.request_counts else 0


def has_more(least: int, batch: Batch) -> bool:
    return completed(batch) > least


def test_cancelled_batch_keeps_the_lines_that_are_done(slow: Deployment) -> None:
    client, worker = slow.client(), slow.start_worker()
    batch = create(client, [request_line(number) for number in range(600)])
    wait_for(client, batch, lambda batch: completed(batch) > 0)
    assert client.batches.cancel(batch.id).status in {"cancelling", "cancelled"}
    batch = wait_for(client, batch)
    worker.kill()
    assert batch.status == "cancelled"
    assert batch.request_counts is not None
    done, left = rows(client, batch.output_file_id), rows(client, batch.error_file_id)
    assert 0 < len(done) < 600
    assert set(done) | set(left) == {f"line-{number}" for number in range(600)}
    assert not set(done) & set(left)
    assert {row["error"]["code"] for row in left.values()} == {"batch_cancelled"}
    assert (batch.request_counts.completed, batch.request_counts.failed) == (len(done), len(left))


def test_kills_lose_and_double_nothing(slow: Deployment) -> None:
    """Kill workers, the server and Redis, and freeze the server, at moments that differ; every line is answered once."""
    client = slow.client()
    workers = [slow.start_worker(), slow.start_worker()]
    num_lines = 80 * NUM_KILLS
    batch = create(client, [request_line(number) for number in range(num_lines)])
    for number in range(NUM_KILLS):
        time.sleep(random.uniform(0, 0.4))
        wait_for(client, batch, partial(has_more, min(40 * number, num_lines - 80)))
        match number % 5:
            case 0 | 3:
                restart(workers[number % 2])
            case 1:
                restart(slow.server)
            case 2:
                freeze(slow.server, 3.0)  # longer than a lease
            case _:
                slow.site.redis.kill()
                slow.site.redis.start()
        slow.server.wait()
    batch = wait_for(client, batch)
    for worker in workers:
        worker.kill()
    assert batch.status == "completed"
    assert (completed(batch), batch.error_file_id) == (num_lines, None)
    found = rows(client, batch.output_file_id)
    assert set(found) == {f"line-{number}" for number in range(num_lines)}
    for number in (0, num_lines // 2, num_lines - 1):
        line = request_line(number)
        assert found[line["custom_id"]]["response"]["body"]["results"] == synchronous(slow, line)


def restart(program: Program) -> None:
    program.kill()
    program.start()


def freeze(program: Program, seconds: float) -> None:
    program.signal(signal.SIGSTOP)
    time.sleep(seconds)
    program.signal(signal.SIGCONT)


def test_files_in_a_bucket_serve_batches_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as s3, job_site(tmp_path) as site:
        for name, value in variables(s3).items():
            monkeypatch.setenv(name, value)
        deployment = Deployment(site, new_bucket(s3))
        deployment.start_worker()
        client = deployment.client()
        batch = wait_for(client, create(client, [request_line(number) for number in range(50)]))
        assert (batch.status, completed(batch)) == ("completed", 50)
        assert len(rows(client, batch.output_file_id)) == 50
        assert client.files.delete(str(batch.output_file_id)).deleted
