"""The server follows its OpenAPI document: valid and invalid requests get a documented answer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.clients.calls.telling import Servers
from tests.clients.groups import MADE, QUIET

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

EXAMPLES: Final = 15
"""Random examples per operation, besides those from its schema; they differ at every run."""

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


def test_every_request_gets_a_documented_answer(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(without_faults(servers.open)))
    how = ["--checks", CHECKS, "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing", "--no-shrink"]
    command: list[str | Path] = [MADE / "openapi/bin/st", "run", "openapi.json", "--url", servers.open, *how]
    environ = {**QUIET, "HOME": str(tmp_path), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    print(done.stdout.partition("Test cases:")[2].strip().splitlines()[0])
