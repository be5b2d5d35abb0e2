"""Every flag of `shortlist bench load` arrives in the plan, and what makes no sense is refused in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shortlist import cli
from shortlist.bench.outputs import Outputs
from shortlist.bench.traffic import load
from shortlist.bench.traffic.dialect import DIALECTS
from shortlist.bench.traffic.flags import FLAGS
from shortlist.bench.traffic.plan import Plan
from shortlist.cli import ending
from shortlist.errors import UpstreamError

Run = Callable[..., Result]
URL = "http://localhost:8080"


class Loaded:
    """Stands in for a run: remembers what it was asked for."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.outputs: list[Outputs] = []
        self.code = 0
        self.error: Exception | None = None

    def __call__(self, plan: Plan, outputs: Outputs) -> int:
        self.plans.append(plan)
        self.outputs.append(outputs)
        if self.error is not None:
            raise self.error
        return self.code


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    stand_in = Loaded()
    monkeypatch.setattr(load, "run", stand_in)
    return stand_in


@pytest.fixture
def run(loaded: Loaded) -> Run:
    def invoke(*arguments: str, env: Mapping[str, str] | None = None) -> Result:
        given = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **(env or {})}
        return CliRunner().invoke(cli.app, ["bench", "load", *arguments], env=given)

    return invoke


def plain(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).replace("│", " ").split())


def test_without_flags_it_is_the_articles_table(run: Run, loaded: Loaded) -> None:
    assert run(URL).exit_code == 0
    [plan] = loaded.plans
    assert [level.name for level in plan.levels] == ["10 users", "30 users", "50 users", "100 users", "300 users"]
    assert (plan.duration_s, plan.num_documents) == (60, 10)
    assert [(target.name, target.url) for target in plan.targets] == [("localhost:8080", f"{URL}/v1/rerank")]
    assert plan == Plan(targets=plan.targets, levels=plan.levels)
    assert loaded.outputs == [Outputs()]


GIVEN: Mapping[str, tuple[str, object]] = {
    "duration_s": ("1.5", 1.5),
    "warm_up_s": ("0", 0.0),
    "repeats": ("3", 3),
    "num_documents": ("7", 7),
    "num_words": ("8", 8),
    "seen_share": ("0.5", 0.5),
    "num_checked": ("4", 4),
    "tolerance": ("0.01", 0.01),
    "within_s": ("30", 30.0),
    "timeout_s": ("9", 9.0),
    "seed": ("-5", -5),
}


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.field], ids=lambda flag: flag.name)
def test_every_field_is_a_flag(run: Run, loaded: Loaded, flag: object) -> None:
    name, field = flag.name.replace("_", "-"), flag.field  # type: ignore[attr-defined]
    text, value = GIVEN[field]
    result = run(URL, f"--{name}", text)
    assert result.exit_code == 0, result.output
    [plan] = loaded.plans
    default = Plan(targets=plan.targets, levels=plan.levels)
    assert {
        each.name: getattr(plan, each.name) for each in fields(Plan) if getattr(plan, each.name) != getattr(default, each.name)
    } == {field: value}


def test_no_field_is_without_a_flag() -> None:
    assert {flag.field for flag in FLAGS if flag.field} | {"targets", "levels"} == {field.name for field in fields(Plan)}
    assert GIVEN.keys() == {flag.field for flag in FLAGS if flag.field}


def test_levels_are_users_and_rates_each_once(run: Run, loaded: Loaded) -> None:
    assert run(URL, "--rate", "2.5", "--users", "3", "--users", "1", "--users", "3", "--rate", "50").exit_code == 0
    assert [level.name for level in loaded.plans[0].levels] == ["3 users", "1 user", "2.5/s", "50/s"]


def test_contenders_have_names_dialects_models_and_keys(run: Run, loaded: Loaded) -> None:
    own = ["--dialect", "tei=tei", "--model", "m", "--model", "tei=n", "--api-key", "tei=k=="]
    assert run(f"ours={URL}", "--contender", "tei=http://b:1", "--contender", "http://c:2", *own).exit_code == 0
    found = [(each.name, each.dialect.name, each.model, each.api_key) for each in loaded.plans[0].targets]
    assert found == [("ours", "rerank", "m", None), ("tei", "tei", "n", "k=="), ("c:2", "rerank", "m", None)]


def test_the_servers_own_key_is_for_the_first_alone(run: Run, loaded: Loaded) -> None:
    env = {"SHORTLIST_API_KEY": "one,two"}
    run(URL, "--contender", "peer=http://b", env=env)
    run(URL, "--contender", "peer=http://b", "--api-key", "mine", env=env)
    assert [[each.api_key for each in plan.targets] for plan in loaded.plans] == [["one", None], ["mine", "mine"]]


def test_files_are_what_was_asked_for(run: Run, loaded: Loaded) -> None:
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
def test_what_makes_no_sense_is_refused_in_one_line(run: Run, loaded: Loaded, arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == ending.EXIT_CANNOT_START
    assert words in plain(result.output)
    assert result.output.count("\n") == 1
    assert not loaded.plans


@pytest.mark.parametrize("arguments", [[], [URL, "two"], [URL, "--users", "many"], [URL, "--duration"], [URL, "--rats", "1"]])
def test_wrong_usage_ends_with_2(run: Run, loaded: Loaded, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
    assert not loaded.plans


def test_a_setting_of_the_environment_that_is_wrong_is_told(run: Run, loaded: Loaded) -> None:
    result = run(URL, env={"SHORTLIST_PROT": "1"})
    assert result.exit_code == ending.EXIT_CANNOT_START
    assert "'prot'" in result.output
    assert not loaded.plans


@pytest.mark.parametrize("code", [0, 1])
def test_it_ends_as_its_run_did(run: Run, loaded: Loaded, code: int) -> None:
    loaded.code = code
    assert run(URL).exit_code == code


def test_a_server_that_is_not_there_is_one_line(run: Run, loaded: Loaded) -> None:
    loaded.error = UpstreamError("ours (http://x) does not answer as it should: [Errno 111]", is_retryable=False)
    result = run(URL)
    assert (result.exit_code, result.stderr) == (3, f"error: {loaded.error}\n")


def test_help_names_every_flag_dialect_and_exit_code(run: Run) -> None:
    shown = plain(run("--help").output)
    for flag in FLAGS:
        assert f"--{flag.name.replace('_', '-')}" in shown
        assert flag.help.split(";")[0].split(",")[0] in shown
    assert all(f"{each.name} ({each.speakers})" in shown for each in DIALECTS.values())
    for words in (
        "[NAME=]URL",
        "0 every request was answered or refused with 429",
        "3 it cannot run",
        "Ctrl-C",
        "SHORTLIST_API_KEY",
    ):
        assert words in shown
    assert shown.index("--users") < shown.index("--plot")
