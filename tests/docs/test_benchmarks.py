"""The benchmarks' page has a place for what is measured, names everyone who is compared, and its one command runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from benchmarks.engines.process import Spec
from benchmarks.engines.spec import SpecBounds
from shortlist.bench.markdown import around
from shortlist.bench.plan import DEFAULT_USERS, LoadPlan
from shortlist.cli.bench import app

PAGE = Path("docs/benchmarks.md")
SCRIPT = Path("benchmarks/compare")

INTERPRETER = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
Path("calls").open("a").write(json.dumps(sys.argv[1:]) + "\\n")
if "tests.support.qwen" in sys.argv:
    Path(sys.argv[3]).mkdir(parents=True)
    Path(sys.argv[3], "tokenizer_config.json").touch()
sys.exit(int(os.environ["CODE"]) if "benchmarks" in sys.argv else 0)
"""


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    """A folder with the script, an interpreter that only takes notes, and the environments of some peers."""
    (tmp_path / "benchmarks" / "peers").mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "benchmarks")
    for place in ("python", *(f"benchmarks/.environments/{name}/bin/python" for name in ("official", "vllm", "openvino"))):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(INTERPRETER)
        path.chmod(0o755)
    maker = tmp_path / "benchmarks" / "peers" / "environment"
    maker.write_text('#!/bin/sh\necho "$1" >> made\nexit 1\n')
    maker.chmod(0o755)
    return tmp_path


def compare(apps: Path, *flags: str, code: int = 0, **environ: str) -> tuple[int, list[list[str]], str]:
    done = subprocess.run(
        [apps / "benchmarks" / "compare", *flags],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHON": str(apps / "python"), "CODE": str(code), **environ},  # noqa: TID251
    )
    calls = apps / "calls"
    return done.returncode, [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else [], done.stderr


def contenders(call: list[str]) -> dict[str, tuple[str, ...]]:
    texts = [word for flag, word in pairwise(call) if flag == "--contender"]
    return {spec.name: spec.command for spec in map(Spec.parse, texts)}


def test_page_has_a_place_for_the_tables() -> None:
    assert all(
        part
        for run in ("servers", "libraries", "gpu-servers", "gpu-libraries", "load")
        for part in around(PAGE.with_name(f"{PAGE.name}#{run}"))
    )


def test_every_compared_contender_is_on_the_page() -> None:
    names = set(re.findall(r"add(?:_int8)? ([a-z]\w+)", SCRIPT.read_text()))
    assert {"ours_http", "ours_int8", "vllm_tuned", "openvino_int8"} <= names
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in {*names, "ours", "official", "sentence_transformers", "llama_cpp"})


def test_flags_on_the_page_exist() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Under load")[2].partition("<!--")[0]
    flags = set(re.findall(r"--[a-z][a-z-]*", section)) - {"--help"}
    assert flags >= {"--users", "--rate", "--seen", "--check"}
    known = {name for parameter in typer.main.get_group(app).commands["load"].params for name in parameter.opts}
    assert flags <= known
    assert f"{', '.join(map(str, DEFAULT_USERS))} users, {LoadPlan.duration_s:g} s each" in section


def test_everyone_with_an_environment_takes_part(apps: Path) -> None:
    code, [making, servers, libraries], _ = compare(apps, "--load", "1x1")
    assert code == 0
    assert making[:2] == ["-m", "tests.support.qwen"]
    assert "0.6b" in making
    found = contenders(servers)
    assert list(found) == ["ours_fp32", "ours_int8", "ours_http", "vllm", "vllm_tuned"]
    assert found["vllm_tuned"] == (
        "benchmarks/.environments/vllm/bin/python",
        "-m",
        "benchmarks.peers.vllm.contender",
        "--tuned",
    )
    assert found["ours_int8"][-2:] == ("--dtype", "int8")
    assert list(contenders(libraries)) == ["ours_fp32", "ours_int8", "official", "openvino", "openvino_int8"]
    bounds = SpecBounds.parse([word for flag, word in pairwise(libraries) if flag == "--max-rms"])
    assert bounds.own.keys() == {"ours_int8", "openvino_int8"}
    for call, run in ((servers, "servers"), (libraries, "libraries")):
        assert call[:2] == ["-m", "benchmarks"]
        assert call[2] == making[2]
        assert call[-2:] == ["--load", "1x1"]
        assert {f"docs/benchmarks.md#{run}", "--check-only"} <= set(call)


def test_an_environment_that_is_missing_is_made_and_its_peer_gone_without_if_that_fails(apps: Path) -> None:
    _, calls, log = compare(apps)
    assert (apps / "made").read_text().split() == ["sentence_transformers", "llama_cpp"]
    assert "going without sentence_transformers" in log
    assert "sentence_transformers" not in contenders(calls[-1])


def test_a_model_that_is_named_is_taken_and_peers_can_be_chosen(apps: Path) -> None:
    _, [call], _ = compare(apps, MODEL="/a folder", PEERS="official", RUNS="libraries")
    assert call[2] == "/a folder"
    assert list(contenders(call)) == ["ours_fp32", "ours_int8", "official"]
    assert not (apps / "made").exists()


def test_on_a_gpu_one_python_runs_the_peers_that_can_be_there(apps: Path) -> None:
    _, [servers, libraries], _ = compare(apps, DEVICE="cuda", PEER_PYTHON="/a/python", MODEL="m")
    found = contenders(servers) | contenders(libraries)
    assert list(found) == ["ours_fp32", "ours_bf16", "ours_http", "vllm", "vllm_tuned", "official", "sentence_transformers"]
    assert found["official"] == ("/a/python", "-m", "benchmarks.peers.official.contender")
    assert not (apps / "made").exists(), "environments are for CPUs"
    for call, run in ((servers, "servers"), (libraries, "libraries")):
        assert call[call.index("--device") + 1] == "cuda"
        assert f"docs/benchmarks.md#gpu-{run}" in call


def test_peers_on_a_gpu_use_our_dtype_by_default(apps: Path) -> None:
    _, [call], _ = compare(apps, DEVICE="cuda:1", MODEL="m", RUNS="libraries", PEERS="official")
    assert contenders(call)["official"][0] == str(apps / "python")
    assert call[call.index("--device") + 1] == "cuda:1"


@pytest.mark.parametrize(("ended", "code"), [(0, 0), (1, 0), (2, 2), (3, 3)])
def test_unranked_contender_does_not_fail_the_run(apps: Path, ended: int, code: int) -> None:
    assert compare(apps, code=ended, MODEL="m", PEERS="")[0] == code


def test_missing_own_environment_error_names_the_command(apps: Path) -> None:
    code, _, log = compare(apps, PYTHON="/no/python")
    assert code == 1
    assert "make bench" in log
