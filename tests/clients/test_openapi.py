"""The server follows its OpenAPI document: valid and invalid requests get a documented answer."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.clients.calls.telling import Servers
from tests.clients.groups import MADE, QUIET
from tests.support.job_site import job_site
from tests.support.redis_server import missing_redis

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

EXAMPLES: Final = 15
"""Random examples per operation, besides those from its schema."""

SEED: Final = os.environ.get("SCHEMATHESIS_SEED", "1")  # noqa: TID251 - which examples are tried is no setting

CHECKS: Final = "status_code_conformance,content_type_conformance,response_schema_conformance"

FAULTS: Final = ("500", "502", "503", "424")
"""Documented statuses that no request may cause: a request can set an impossible deadline, but cannot cause a fault."""

UNSUPPORTED: Final = ("/embed_sparse",)
"""Paths for which the model is not made; TEI's status for that is 424."""


def without_faults(url: str) -> Any:
    document = httpx2.get(f"{url}/openapi.json").json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status in FAULTS:
                if (path in UNSUPPORTED, status) != (True, "424"):
                    operation["responses"].pop(status, None)
    return document


def run(url: str, folder: Path, *only: str) -> None:
    """Send requests made from the document, and check that every answer is in it."""
    (folder / "openapi.json").write_text(json.dumps(without_faults(url)))
    how = [
        "--checks",
        CHECKS,
        "--max-examples",
        str(EXAMPLES),
        "--seed",
        SEED,
        "--phases",
        "examples,coverage,fuzzing",
        "--no-shrink",
    ]
    command: list[str | Path] = [MADE / "openapi/bin/st", "run", "openapi.json", "--url", url, *how, *only]
    environ = {**QUIET, "HOME": str(folder), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    print(done.stdout.partition("Test cases:")[2].strip().splitlines()[0])


def test_every_request_gets_a_documented_answer(servers: Servers, tmp_path: Path) -> None:
    run(servers.open, tmp_path)


@pytest.mark.skipif(missing_redis() is not None, reason=str(missing_redis()))
def test_jobs_files_and_batches_give_documented_answers(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with job_site(tmp_path) as site:
        server = site.server(job_files=tmp_path / "files")
        site.worker(server.url)
        server.wait()
        run(server.url, tmp_path, "--include-path-regex", "^/v1/(jobs|files|batches|webhooks)")
