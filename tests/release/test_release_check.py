"""The checks of `make release-check` refuse what is wrong. The builds and the server are run by the target itself."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from scripts import release_check

from shortlist import __version__
from tests.support.distributions import with_all_extras

PACKAGE = Path("src/shortlist/__init__.py").read_text(encoding="utf-8")
CHANGELOG = Path("CHANGELOG.md").read_text(encoding="utf-8")
VERSION = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_versions_of_package_project_and_change_log_agree() -> None:
    release_check.check_version(VERSION, None, package=PACKAGE, changelog=CHANGELOG)
    assert __version__ == VERSION


@pytest.mark.parametrize(
    ("version", "tag", "changelog", "error"),
    [
        ("1.0.1", "v1.0.1", "## [1.0.1]", "shortlist.__version__ is another"),
        ("1.0.0", "1.0.0", "## [1.0.0]", "the tag 1.0.0 is not v1.0.0"),
        ("1.0.0", "v1.0.0", "## [Unreleased]", "no section [1.0.0]"),
        ("1.0.0", None, "# Changelog", "no section [1.0.0]"),
    ],
)
def test_wrong_version_ends_the_check(version: str, tag: str | None, changelog: str, error: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(error)):
        release_check.check_version(version, tag, package='__version__ = "1.0.0"', changelog=changelog)


def test_right_tag_passes() -> None:
    release_check.check_version("1.0.0", "v1.0.0", package='__version__ = "1.0.0"', changelog="## [1.0.0] - 2026-12-01")


def test_constraints_pin_every_distribution_of_all_extras() -> None:
    installed = with_all_extras()
    assert len(installed) > 80
    assert release_check.unpinned(installed, Path("constraints.txt").read_text(encoding="utf-8")) == []


def test_distribution_without_a_pin_is_named() -> None:
    assert release_check.unpinned(["Some_Library", "torch", "shortlist", "triton"], "torch==2.13.0\n") == ["some-library"]


def test_files_that_differ_between_wheels_are_seen(tmp_path: Path) -> None:
    for name, texts in {"one": {"a": "1", "b": "2"}, "other": {"a": "1", "b": "3"}}.items():
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            for file, text in texts.items():
                wheel.writestr(file, text)
    assert {name for name, _ in release_check.contents(tmp_path / "one") ^ release_check.contents(tmp_path / "other")} == {"b"}


def test_hashes_are_those_of_the_report() -> None:
    def entry(name: str) -> dict[str, object]:
        return {"metadata": {"name": name, "version": "1"}, "download_info": {"archive_info": {"hashes": {"sha256": "f00"}}}}

    assert release_check.with_hash(entry("Jinja2")) == "Jinja2==1 --hash=sha256:f00\n"
    assert release_check.with_hash(entry("shortlist")) == ""


def test_command_that_fails_ends_the_check() -> None:
    with pytest.raises(SystemExit, match="exit code 7"):
        release_check.run(sys.executable, "-c", "raise SystemExit(7)")
