"""The command line of the comparison: every flag arrives in the order, and what makes no sense is refused in one line."""

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


class Benched:
    """Stands in for a run: remembers what it was asked for."""

    def __init__(self) -> None:
        self.orders: list[RunSpec] = []
        self.outputs: list[Outputs] = []
        self.code = 0

    def __call__(self, order: RunSpec, outputs: Outputs) -> int:
        self.orders.append(order)
        self.outputs.append(outputs)
        return self.code


@pytest.fixture
def benched(monkeypatch: pytest.MonkeyPatch) -> Benched:
    stand_in = Benched()
    monkeypatch.setattr(engine_run, "run", stand_in)
    return stand_in


def test_bench_asks_ours_alone_all_loads_by_default(benched: Benched) -> None:
    assert run("folder").exit_code == 0
    [order] = benched.orders
    assert [load.name for load in order.loads] == list(DEFAULT_LOADS)
    assert [spec.name for spec in order.contenders] == ["ours"]
    assert (order.model, order.reference, order.repeats, order.threads) == ("folder", "ours", 5, None)
    assert order.floor is not None
    assert benched.outputs == [Outputs()]


def test_command_line_is_parsed_into_the_plan(benched: Benched) -> None:
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
    [order] = benched.orders
    assert [spec.command for spec in order.contenders[1:]] == [("run", "it"), ("run", "that one")]
    assert order.contenders[0].command[-1] == "float32"
    assert (order.reference, order.bounds.of("int8"), order.bounds.of("ours")) == ("official", 2.0, 0.1)
    assert ([load.name for load in order.loads], order.repeats, order.threads, order.seed, order.floor) == (
        ["3x4"],
        9,
        2,
        7,
        None,
    )
    assert benched.outputs == [Outputs(json=Path("a.json"), markdown=Path("a.md"), plot=Path("a.png"))]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--load", "many"], "DOCUMENTSxTOKENS"),
        (["--contender", "official"], "NAME='COMMAND ...'"),
        (["--max-rms", "x"], "--max-rms"),
        (["--reference", "unknown"], "no contender called 'unknown'"),
    ],
)
def test_bench_refuses_in_one_line(benched: Benched, arguments: list[str], words: str) -> None:
    result = run("folder", *arguments)
    assert result.exit_code == exit_codes.EXIT_CANNOT_START
    assert words in plain(result.output)
    assert result.output.count("\n") == 1
    assert not benched.orders


def test_bench_exits_as_its_run_did(benched: Benched) -> None:
    benched.code = 1
    assert run("folder").exit_code == 1


def test_bench_without_a_model_is_wrong_usage(benched: Benched) -> None:
    assert run().exit_code == 2
    assert run("folder", "--repeats", "0").exit_code == 2
    assert not benched.orders


def test_bench_help_teaches_the_protocol() -> None:
    shown = plain(run("--help").output)
    for words in (
        "'ready': true",
        "'scores'",
        "--contender http='python -m benchmarks.engines.http'",
        "Exit codes",
        "--max-rms",
    ):
        assert words in shown


@pytest.mark.full
def test_package_runs_as_a_module_from_the_repository_root(make_model: ModelFactory) -> None:
    flags = ["--load", "2x16", "--repeats", "1", "--no-floor"]
    command = [sys.executable, "-m", "benchmarks", str(make_model(kind="reranker")), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "2x16" in done.stdout
    assert re.search(r"^Speed: the median over rounds, 1 here", done.stdout, re.MULTILINE)
