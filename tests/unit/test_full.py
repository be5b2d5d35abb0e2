"""A whole run of the tests writes its result, and a run of a part writes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.full import EVERYTHING, PARTIAL, why_partial

ROOT = Path(__file__).parents[2]
SETTINGS = "[pytest]\ntestpaths = tests\nmarkers =\n    full: f\n    clients: c\n    vllm: v\n"
TESTS = """
import pytest

def test_good(): pass

@pytest.mark.full
@pytest.mark.parametrize("number", range(11))
def test_many(number): pass

@pytest.mark.skip(reason="says so")
def test_left_out(): pass

def test_bad(): assert False
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    return tmp_path


def run(project: Path, *arguments: str) -> str:
    """Run pytest there as `make test-full` does here; return what it says."""
    plugins = ["-p", "tests.support.full", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugins, "--full-report", "page.md", *arguments]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}  # noqa: TID251
    environ.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True, timeout=100, check=False).stdout


def test_whole_run_is_written(project: Path) -> None:
    assert "page.md is written" in run(project, "-m", EVERYTHING, "-n", "1")
    page = (project / "page.md").read_text()
    assert "| Tests | 12 passed, 1 failed, 1 skipped |" in page
    assert re.search(r"^\| Python \| 3\.1\d\.\d+ \|$", page, re.MULTILINE)
    assert re.search(r"^\| Time \| \d+\.\d min \|$", page, re.MULTILINE)
    assert len(re.findall(r"^\| `tests/test_it.py::test_\S+` \| \d+\.\d \|$", page, re.MULTILINE)) == 10


def test_run_of_a_part_writes_nothing(project: Path) -> None:
    assert "page.md is not written: only some tests were asked for (keyword)" in run(project, "-m", EVERYTHING, "-k", "good")
    assert not (project / "page.md").exists()


@dataclass
class Asked:
    """What a run was asked for, as pytest's configuration says it."""

    args_source: pytest.Config.ArgsSource = pytest.Config.ArgsSource.TESTPATHS
    options: dict[str, object] = field(default_factory=lambda: {"markexpr": EVERYTHING})

    def getoption(self, name: str, default: object = None) -> object:
        return self.options.get(name, default)


@pytest.mark.parametrize(
    ("asked", "status", "is_whole"),
    [
        (Asked(), pytest.ExitCode.OK, True),
        (Asked(), pytest.ExitCode.TESTS_FAILED, True),
        (Asked(), pytest.ExitCode.INTERRUPTED, False),
        (Asked(args_source=pytest.Config.ArgsSource.ARGS), pytest.ExitCode.OK, False),
        (Asked(options={"markexpr": "not full"}), pytest.ExitCode.OK, False),
        *((Asked(options={"markexpr": EVERYTHING, name: 1}), pytest.ExitCode.OK, False) for name in PARTIAL),
    ],
)
def test_only_a_run_of_everything_to_its_end_is_whole(asked: Asked, status: int, is_whole: bool) -> None:
    assert (why_partial(asked, status) is None) is is_whole  # type: ignore[arg-type]


def test_options_of_pytest_are_called_so(pytestconfig: pytest.Config) -> None:
    from_plugins = {"core": "tests.support.core", **dict.fromkeys(("lf", "failedfirst", "stepwise"), "cacheprovider")}
    for name in ("markexpr", *PARTIAL):
        assert name in vars(pytestconfig.option) or not pytestconfig.pluginmanager.has_plugin(from_plugins[name])


def test_makefile_runs_everything() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f'EVERYTHING := -m "{EVERYTHING}"' in makefile
    [recipe] = re.findall(r"^test-full:.*\n\t(.*)$", makefile, re.MULTILINE)
    assert "$(EVERYTHING) --full-report docs/test-full.md" in recipe
