"""Real clients, unchanged, over real sockets: each asks in an environment of its own, and all that it tells is judged here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.calls.telling import Servers
from tests.clients.groups import ENVIRONMENTS, GROUPS, is_made, run
from tests.clients.table import Line, Told
from tests.clients.verdict import Truth, verdict

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_is_there(environment: str) -> None:
    assert is_made(environment), f"make it: tests/clients/environment {environment} (its log is in tests/clients/.environments)"


@pytest.mark.parametrize(("environment", "script"), GROUPS)
def test_every_call_comes_to_what_it_should(
    environment: str, script: str, servers: Servers, truth: Truth, told: Told, tmp_path: Path
) -> None:
    if not is_made(environment):
        pytest.fail(f"no client ran: the environment {environment} is not there")
    group = run(environment, script, servers, tmp_path)
    calls = [Line(row, verdict(row, truth)) for row in group.rows]
    told.calls.extend(calls)
    told.groups.add((environment, script))
    assert group.code == 0, group.log
    assert any(row.kind in {"ranking", "vectors"} for row in group.rows), "it asked for nothing"
    wrong = [f"{row.client} {row.version}, {row.call}: {found.wrong}" for row, found in calls if found.wrong]
    assert not wrong, "\n".join(wrong)
