"""Environments of clients are made once, rebuilt when their list changes, and not being able to is loud."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.clients.groups import ENVIRONMENTS, HERE, is_made

PYTHON: Final = """#!/usr/bin/env bash
if [ "$1" = -VV ]; then echo "Python 3.11"
elif [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
elif [ -e "$PLACE/broken" ]; then echo "ERROR: there is no such package" >&2; exit 1
else echo "$@" >>"$PLACE/installed"
fi
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the real script, two small lists, and a Python that pretends."""
    shutil.copy(HERE / "environment", tmp_path)
    for name in ("one", "other"):
        (tmp_path / "environments" / name).mkdir(parents=True)
        (tmp_path / "environments" / name / "requirements.txt").write_text(f"{name}==1.0\n")
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(place: Path, *names: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "PYTHON": str(place / "python"), "PLACE": str(place)}
    command: list[str | Path] = [place / "environment", *names]
    return subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, timeout=60, check=False)


def installed(place: Path) -> list[str]:
    path = place / "installed"
    return [line.split("/")[-2] for line in path.read_text().splitlines()] if path.exists() else []


def test_made_once(place: Path) -> None:
    assert make(place, "all").returncode == 0
    again = make(place, "all")
    assert again.stdout == "one: is there\nother: is there\n"
    assert installed(place) == ["one", "other"]
    assert "--no-deps" in (place / "installed").read_text()


def test_rebuilt_when_its_list_changes(place: Path) -> None:
    make(place, "all")
    (place / "environments/one/requirements.txt").write_text("one==2.0\n")
    make(place, "all")
    assert installed(place) == ["one", "other", "one"]


def test_failure_is_said_and_does_not_stop_the_others(place: Path) -> None:
    make(place, "one")
    (place / "environments/one/requirements.txt").write_text("one==2.0\n")
    (place / "broken").touch()
    done = make(place, "one", "other", "unknown")
    assert done.returncode == 1
    for name, why in (
        ("one", "there is no such package"),
        ("other", "there is no such package"),
        ("unknown", "no such environment"),
    ):
        assert any(f"{name}: " in line and why in line for line in done.stderr.splitlines()), done.stderr
    (place / "broken").unlink()
    assert make(place, "one").returncode == 0
    assert installed(place) == ["one", "one"]


def test_environment_of_another_list_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.clients.groups.MADE", tmp_path)
    name = next(iter(ENVIRONMENTS))
    assert not is_made(name)
    (tmp_path / name).mkdir()
    (tmp_path / name / "made_from").write_text("nothing==0.0\n")
    assert not is_made(name)
    (tmp_path / name / "made_from").write_text(
        (HERE / "environments" / name / "requirements.txt").read_text() + "Python 3.11\n"
    )
    assert is_made(name)
