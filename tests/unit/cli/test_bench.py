"""Flags of `shortlist bench load` set the plan, and invalid flags are refused in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from shortlist import cli
from shortlist.bench import run as bench
from shortlist.bench.dialects import DIALECTS
from shortlist.bench.outputs import Outputs
from shortlist.bench.plan import LoadPlan
from shortlist.cli import exit_codes
from shortlist.cli.bench import app
from shortlist.errors import UpstreamError
from shortlist.installation import install_hint

Run = Callable[..., Result]
URL = "http://localhost:8080"


class Loaded:
    """Fake of `bench.run`: records its arguments."""

    def __init__(self) -> None:
        self.plans: list[LoadPlan] = []
        self.outputs: list[Outputs] = []
        self.code = 0
        self.error: Exception | None = None

    def __call__(self, plan: LoadPlan, outputs: Outputs) -> int:
        self.plans.append(plan)
        self.outputs.append(outputs)
        if self.error is not None:
            raise self.error
        return self.code


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    stand_in = Loaded()
    monkeypatch.setattr(bench, "run", stand_in)
    return stand_in


@pytest.fixture
def run(loaded: Loaded) -> Run:
    def invoke(*arguments: str, env: Mapping[str, str] | None = None) -> Result:
        given = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **(env or {})}
        return CliRunner().invoke(cli.app, ["bench", "load", *arguments], env=given)

    return invoke


def plain(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).replace("│", " ").split())


def test_defaults_without_flags(run: Run, loaded: Loaded) -> None:
    assert run(URL).exit_code == 0
    [plan] = loaded.plans
    assert [level.name for level in plan.levels] == ["10 users", "30 users", "50 users", "100 users", "300 users"]
    assert (plan.duration_s, plan.num_documents) == (60, 10)
    assert [(target.name, target.url) for target in plan.targets] == [("localhost:8080", f"{URL}/v1/rerank")]
    assert plan == LoadPlan(targets=plan.targets, levels=plan.levels)
    assert loaded.outputs == [Outputs()]


GIVEN: Mapping[str, tuple[str, str, object]] = {
    "--duration": ("1.5", "duration_s", 1.5),
    "--warm-up": ("0", "warm_up_s", 0.0),
    "--repeats": ("3", "repeats", 3),
    "--documents": ("7", "num_documents", 7),
    "--words": ("8", "num_words", 8),
    "--seen": ("0.5", "seen_share", 0.5),
    "--check": ("4", "num_checked", 4),
    "--tolerance": ("0.01", "tolerance", 0.01),
    "--within": ("30", "within_s", 30.0),
    "--timeout": ("9", "timeout_s", 9.0),
    "--seed": ("-5", "seed", -5),
}


@pytest.mark.parametrize("flag", GIVEN)
def test_every_field_is_a_flag(run: Run, loaded: Loaded, flag: str) -> None:
    text, field, value = GIVEN[flag]
    result = run(URL, flag, text)
    assert result.exit_code == 0, result.output
    [plan] = loaded.plans
    default = LoadPlan(targets=plan.targets, levels=plan.levels)
    assert {
        each.name: getattr(plan, each.name)
        for each in fields(LoadPlan)
        if getattr(plan, each.name) != getattr(default, each.name)
    } == {field: value}


def test_every_plan_field_has_a_flag() -> None:
    assert {field for _, field, _ in GIVEN.values()} | {"targets", "levels"} == {field.name for field in fields(LoadPlan)}


def test_levels_are_users_and_rates_each_once(run: Run, loaded: Loaded) -> None:
    assert run(URL, "--rate", "2.5", "--users", "3", "--users", "1", "--users", "3", "--rate", "50").exit_code == 0
    assert [level.name for level in loaded.plans[0].levels] == ["3 users", "1 user", "2.5/s", "50/s"]


def test_contenders_have_names_dialects_models_and_keys(run: Run, loaded: Loaded) -> None:
    own = ["--dialect", "tei=tei", "--model", "m", "--model", "tei=n", "--api-key", "tei=k=="]
    assert run(f"ours={URL}", "--contender", "tei=http://b:1", "--contender", "http://c:2", *own).exit_code == 0
    found = [(each.name, each.dialect.name, each.model, each.api_key) for each in loaded.plans[0].targets]
    assert found == [("ours", "rerank", "m", None), ("tei", "tei", "n", "k=="), ("c:2", "rerank", "m", None)]


def test_configured_key_is_sent_to_the_first_server_only(run: Run, loaded: Loaded) -> None:
    env = {"SHORTLIST_API_KEY": "one,two"}
    run(URL, "--contender", "peer=http://b", env=env)
    run(URL, "--contender", "peer=http://b", "--api-key", "mine", env=env)
    assert [[each.api_key for each in plan.targets] for plan in loaded.plans] == [["one", None], ["mine", "mine"]]


def test_output_flags_set_the_files(run: Run, loaded: Loaded) -> None:
    assert run(URL, "--json", "a.json", "--markdown", "a.md#load", "--plot", "a.html", "--plot", "a.png").exit_code == 0
    assert loaded.outputs == [Outputs(json=Path("a.json"), markdown=Path("a.md#load"), plot=Path("a.png"), page=Path("a.html"))]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["localhost:8080"], "http://host:port"),
        (["ours=localhost"], "http://host:port"),
        ([URL, "--contender", URL], "same name"),
        ([URL, "--users", "0"], "--users"),
        ([URL, "--rate", "0"], "--rate"),
        ([URL, "--duration", "0"], "--duration"),
        ([URL, "--documents", "0"], "--documents"),
        ([URL, "--seen", "2"], "--seen"),
        ([URL, "--dialect", "sql"], "no dialect 'sql'"),
        ([URL, "--plot", "a.png", "--plot", "b.png"], "--plot"),
    ],
)
def test_invalid_flags_are_refused_in_one_line(run: Run, loaded: Loaded, arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == exit_codes.EXIT_CANNOT_START
    assert words in plain(result.output)
    assert result.output.count("\n") == 1
    assert not loaded.plans


@pytest.mark.parametrize("arguments", [[], [URL, "two"], [URL, "--users", "many"], [URL, "--duration"], [URL, "--rats", "1"]])
def test_wrong_usage_ends_with_2(run: Run, loaded: Loaded, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
    assert not loaded.plans


def test_invalid_environment_setting_is_reported(run: Run, loaded: Loaded) -> None:
    result = run(URL, env={"SHORTLIST_PROT": "1"})
    assert result.exit_code == exit_codes.EXIT_CANNOT_START
    assert "'prot'" in result.output
    assert not loaded.plans


@pytest.mark.parametrize("code", [0, 1])
def test_exit_code_is_that_of_the_run(run: Run, loaded: Loaded, code: int) -> None:
    loaded.code = code
    assert run(URL).exit_code == code


def test_unreachable_server_is_one_line(run: Run, loaded: Loaded) -> None:
    loaded.error = UpstreamError("ours (http://x) does not answer as it should: [Errno 111]", is_retryable=False)
    result = run(URL)
    assert (result.exit_code, result.stderr) == (3, f"error: {loaded.error}\n")


def test_help_names_every_flag_dialect_and_exit_code(run: Run) -> None:
    shown = plain(run("--help").output)
    flags = [each for each in typer.main.get_group(app).commands["load"].params if each.name not in {"url", "help"}]
    assert len(flags) == 20
    for flag in flags:
        assert flag.opts[0] in shown
        assert str(getattr(flag, "help", "")).split(";")[0].split(",")[0] in shown
    assert all(f"{each.name} ({each.speakers})" in shown for each in DIALECTS.values())
    for words in (
        "[NAME=]URL",
        "0 every request was answered or refused with 429",
        "3 the run cannot start",
        "Ctrl-C",
        "SHORTLIST_API_KEY",
    ):
        assert words in shown
    assert shown.index("--users") < shown.index("--plot")


@pytest.mark.parametrize("missing", ["aiohttp"])
def test_missing_library_error_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in ("shortlist.bench.run", "shortlist.bench.http_client", "shortlist.bench.drive", "shortlist.bench.verify"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("shortlist.bench.run", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    result = run(URL)
    assert result.exit_code == exit_codes.EXIT_CANNOT_START
    assert plain(result.stderr) == f"error: bench load needs {missing}, which is not installed: {install_hint('bench')}"
