"""A missing extra is named with what adds it to this installation, which depends on where Shortlist was installed from."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from shortlist import installation
from shortlist.installation import install_hint

PIP = shlex.join([sys.executable, "-m", "pip", "install"])
REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted((REPOSITORY / "src").rglob("*.py"))
OTHER_USES = {"installation.py", "process.py", "selftest_data.py"}
"""The helper; vLLM, which has its own environment; a document of the self-test."""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An installation that is no clone and no image."""
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    monkeypatch.delenv(installation.IMAGE_VARIABLE, raising=False)
    return monkeypatch


def record(monkeypatch: pytest.MonkeyPatch, folder: Path, origin: dict[str, object] | None) -> None:
    """Replace the record of where the package came from."""
    if origin is not None:
        (folder / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.setattr(importlib.metadata, "distributions", lambda name: [importlib.metadata.PathDistribution(folder)])


def test_clone_is_extended_in_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "a clone"
    root.mkdir()
    (root / "pyproject.toml").touch()
    monkeypatch.setattr(installation, "ROOT", root)
    monkeypatch.setenv(installation.IMAGE_VARIABLE, "cpu")
    assert install_hint("redis") == f"cd '{root}' && {PIP} -c constraints.txt -e '.[redis]'"


def test_image_is_built_again_with_the_extra(installed: pytest.MonkeyPatch) -> None:
    installed.setenv(installation.IMAGE_VARIABLE, "cpu")
    hint = install_hint("redis")
    assert "image cpu" in hint
    assert "extra redis" in hint
    assert "pip" not in hint


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (
            {"url": "file:///downloads/shortlist-0.1.0-py3-none-any.whl", "archive_info": {}},
            f"{PIP} 'shortlist[redis] @ file:///downloads/shortlist-0.1.0-py3-none-any.whl'",
        ),
        (
            {"url": "https://git.example/shortlist.git", "vcs_info": {"vcs": "git", "commit_id": "f00"}},
            f"{PIP} 'shortlist[redis] @ git+https://git.example/shortlist.git@f00'",
        ),
        ({"url": "file:///a%20clone", "dir_info": {}}, f"cd '/a clone' && {PIP} -c constraints.txt '.[redis]'"),
        (None, f"{PIP} 'shortlist[redis]' with the package index that has Shortlist; PyPI does not"),
    ],
    ids=["wheel", "git", "folder", "index"],
)
def test_other_installations_are_extended_from_where_they_came(
    installed: pytest.MonkeyPatch, tmp_path: Path, origin: dict[str, object] | None, command: str
) -> None:
    record(installed, tmp_path, origin)
    assert install_hint("redis") == command


def test_package_without_metadata_still_has_a_hint(installed: pytest.MonkeyPatch) -> None:
    installed.setattr(importlib.metadata, "distributions", lambda name: [])
    assert "'shortlist[redis]'" in install_hint("redis")


def test_messages_have_no_command_of_their_own_and_name_extras_that_exist() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in SOURCES}
    assert {name for name, text in texts.items() if "pip install" in text} == OTHER_USES
    named = {extra for text in texts.values() for extra in re.findall(r"(?:install_hint|needs_extra)\([\"'](\w+)", text)}
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {"redis", "native", "sentence"} <= named <= extras.keys()
