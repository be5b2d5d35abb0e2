"""Unchanged real clients over real sockets, each in its own environment; this module checks their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.calls.telling import Servers
from tests.clients.groups import ENVIRONMENTS, GROUPS, is_made, run
from tests.clients.table import Line, Record
from tests.clients.verdict import Truth, verdict

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_is_installed(environment: str) -> None:
    assert is_made(environment), f"make it: tests/clients/environment {environment} (its log is in tests/clients/.environments)"


@pytest.mark.parametrize(("environment", "script"), GROUPS)
def test_every_call_has_the_expected_result(
    environment: str, script: str, servers: Servers, truth: Truth, record: Record, tmp_path: Path
) -> None:
    if not is_made(environment):
        pytest.fail(f"no client ran: the environment {environment} is not installed")
    group = run(environment, script, servers, tmp_path)
    calls = [Line(row, verdict(row, truth)) for row in group.rows]
    record.calls.extend(calls)
    record.groups.add((environment, script))
    assert group.code == 0, group.log
    assert any(row.kind in {"ranking", "vectors"} for row in group.rows), "it made no call"
    wrong = [f"{row.client} {row.version}, {row.call}: {found.wrong}" for row, found in calls if found.wrong]
    assert not wrong, "\n".join(wrong)
