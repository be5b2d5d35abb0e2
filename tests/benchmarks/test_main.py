"""Tests the command line of the comparison: flags become the run specification, and invalid values are one-line errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmarks.__main__ import app
from benchmarks.engines import run as engine_run
from benchmarks.engines.spec import RunSpec
from benchmarks.loads import DEFAULT_LOADS
from shortlist.bench.outputs import Outputs
from shortlist.cli import exit_codes
from tests.support.fixtures import ModelFactory


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def plain(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).replace("│", " ").split())


class FakeRun:
    """Replaces `run` and records its arguments."""

    def __init__(self) -> None:
        self.run_specs: list[RunSpec] = []
        self.outputs: list[Outputs] = []
        self.code = 0

    def __call__(self, run_spec: RunSpec, outputs: Outputs) -> int:
        self.run_specs.append(run_spec)
        self.outputs.append(outputs)
        return self.code


@pytest.fixture
def fake_run(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    replacement = FakeRun()
    monkeypatch.setattr(engine_run, "run", replacement)
    return replacement


def test_default_run_has_only_shortlist_and_all_loads(fake_run: FakeRun) -> None:
    assert run("folder").exit_code == 0
    [run_spec] = fake_run.run_specs
    assert [load.name for load in run_spec.loads] == list(DEFAULT_LOADS)
    assert [spec.name for spec in run_spec.contenders] == ["ours"]
    assert (run_spec.model, run_spec.reference, run_spec.repeats, run_spec.threads) == ("folder", "ours", 5, None)
    assert run_spec.floor is not None
    assert fake_run.outputs == [Outputs()]


def test_flags_become_the_run_specification(fake_run: FakeRun) -> None:
    contenders = ["--contender", "official=run it", "--contender", "int8=run 'that one'"]
    bounds = ["--max-rms", "0.1", "--max-rms", "int8=2"]
    rest = [
        "--load",
        "3x4",
        "--load",
        "3x4",
        "--repeats",
        "9",
        "--dtype",
        "float32",
        "--threads",
        "2",
        "--seed",
        "7",
        "--no-floor",
    ]
    files = ["--json", "a.json", "--markdown", "a.md", "--plot", "a.png"]
    assert run("folder", *contenders, *bounds, *rest, *files).exit_code == 0
    [run_spec] = fake_run.run_specs
    assert [spec.command for spec in run_spec.contenders[1:]] == [("run", "it"), ("run", "that one")]
    assert run_spec.contenders[0].command[-1] == "float32"
    assert (run_spec.reference, run_spec.bounds.of("int8"), run_spec.bounds.of("ours")) == ("official", 2.0, 0.1)
    assert ([load.name for load in run_spec.loads], run_spec.repeats, run_spec.threads, run_spec.seed, run_spec.floor) == (
        ["3x4"],
        9,
        2,
        7,
        None,
    )
    assert fake_run.outputs == [Outputs(json=Path("a.json"), markdown=Path("a.md"), plot=Path("a.png"))]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--load", "many"], "DOCUMENTSxTOKENS"),
        (["--contender", "official"], "NAME='COMMAND ...'"),
        (["--max-rms", "x"], "--max-rms"),
        (["--reference", "unknown"], "No contender has the name 'unknown'"),
    ],
)
def test_invalid_flag_is_a_one_line_error(fake_run: FakeRun, arguments: list[str], expected: str) -> None:
    result = run("folder", *arguments)
    assert result.exit_code == exit_codes.EXIT_CANNOT_START
    assert expected in plain(result.output)
    assert result.output.count("\n") == 1
    assert not fake_run.run_specs


def test_exit_code_is_that_of_the_run(fake_run: FakeRun) -> None:
    fake_run.code = 1
    assert run("folder").exit_code == 1


def test_missing_model_is_a_usage_error(fake_run: FakeRun) -> None:
    assert run().exit_code == 2
    assert run("folder", "--repeats", "0").exit_code == 2
    assert not fake_run.run_specs


def test_help_explains_the_protocol() -> None:
    shown = plain(run("--help").output)
    for expected in (
        "'ready': true",
        "'scores'",
        "--contender http='python -m benchmarks.engines.http'",
        "Exit codes",
        "--max-rms",
    ):
        assert expected in shown


@pytest.mark.full
def test_package_runs_as_a_module_from_the_repository_root(make_model: ModelFactory) -> None:
    flags = ["--load", "2x16", "--repeats", "1", "--no-floor"]
    command = [sys.executable, "-m", "benchmarks", str(make_model(kind="reranker")), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "2x16" in done.stdout
    assert re.search(r"^Speed: the median over rounds, 1 here", done.stdout, re.MULTILINE)
