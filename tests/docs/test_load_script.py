"""`benchmarks/load` starts both servers with the same model, waits for them, runs the command that exists, and leaves no process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from shortlist.cli.bench import app
from shortlist.config import fields
from tests.support.process import wait_until
from tests.support.serving import free_port

SCRIPT = Path("benchmarks/load")

INTERPRETER = f"""#!{sys.executable}
import json, os, socket, sys, time
from pathlib import Path
Path("calls").open("a").write(json.dumps([os.getpid(), *sys.argv[1:]]) + "\\n")
if "tests.support.qwen" in sys.argv:
    Path(sys.argv[3]).mkdir(parents=True)
    Path(sys.argv[3], "tokenizer_config.json").touch()
if "--port" in sys.argv:
    if os.environ.get("DIES", "unknown") in sys.argv:
        sys.exit("error: no such model")
    time.sleep(0.3)
    listener = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])))
    time.sleep(60)
sys.exit(int(os.environ["CODE"]) if "bench" in sys.argv else 0)
"""


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    """A folder with the script and an interpreter that only takes notes, and listens where a server would."""
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(SCRIPT, tmp_path / "benchmarks")
    (tmp_path / "python").write_text(INTERPRETER)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def load(apps: Path, *flags: str, code: int = 0, **environ: str) -> tuple[int, list[list[str]], str]:
    own = {"PATH": os.environ["PATH"], "PYTHON": str(apps / "python"), "PORT": str(three_ports())}  # noqa: TID251
    given = {**own, "CODE": str(code), **environ}
    script = apps / "benchmarks" / "load"
    done = subprocess.run([script, *flags], check=False, capture_output=True, text=True, timeout=60, env=given)
    calls = apps / "calls"
    noted = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
    for pid, *_ in noted:
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}/exe").exists())  # type: ignore[misc]
    return done.returncode, [words for _, *words in noted], done.stderr


def three_ports() -> int:
    """Return the first of three ports in a row that is free."""
    while True:
        first = free_port()
        with contextlib.suppress(OSError), contextlib.ExitStack() as served:
            for port in range(first, first + 3):
                served.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


def value(call: list[str], flag: str) -> str:
    return call[call.index(flag) + 1]


def test_all_servers_have_the_same_model_and_the_bench_asks_all(apps: Path) -> None:
    code, [making, ours, blocking, library, bench], _ = load(apps, "--users", "3")
    assert code == 0
    assert making[:2] == ["-m", "tests.support.qwen"]
    assert value(making, "--shape") == "small"
    assert ours[:3] == ["-m", "shortlist", "serve"]
    assert blocking[:3] == ["-m", "benchmarks.blocking", making[2]]
    assert value(ours, "--reranker") == making[2]
    assert value(ours, "--cache-bytes") == "0"
    assert value(ours, "--dtype") == value(blocking, "--dtype") == "auto"
    assert "--random-weights" in ours
    assert bench[:4] == ["-m", "shortlist", "bench", "load"]
    assert bench[4] == f"ours=http://127.0.0.1:{value(ours, '--port')}"
    assert [value(each, "--engine") for each in (blocking, library)] == ["native", "transformers"]
    for name, each in (("blocking", blocking), ("transformers", library)):
        assert f"{name}=http://127.0.0.1:{value(each, '--port')}" in bench
        assert each[2:4] == blocking[2:4]
    assert value(bench, "--markdown") == "docs/benchmarks.md#load"
    assert bench[-2:] == ["--users", "3"]
    assert {"docs/images/bench-load.png", "build/bench-load.html"} <= set(bench)
    assert int(value(ours, "--max-queue-delay-ms")) == 1000 * int(value(bench, "--within"))


def test_real_weights_are_tested_as_always(apps: Path) -> None:
    _, [ours, blocking, bench], _ = load(apps, MODEL="/a folder", DTYPE="float32", PEERS="transformers")
    assert value(ours, "--reranker") == "/a folder" == blocking[2]
    assert value(ours, "--dtype") == value(blocking, "--dtype") == "float32"
    assert bench.count("--contender") == 1
    assert "--random-weights" not in ours


@pytest.mark.parametrize("code", [0, 1, 3])
def test_script_exits_as_the_bench_did(apps: Path, code: int) -> None:
    assert load(apps, code=code, MODEL="m")[0] == code


@pytest.mark.parametrize(("who", "name"), [("serve", "ours"), ("native", "blocking")])
def test_a_server_that_does_not_start_ends_it_in_its_own_words(apps: Path, who: str, name: str) -> None:
    started_s = time.monotonic()
    code, calls, log = load(apps, MODEL="m", DIES=who)
    assert code == 1
    assert "error: no such model" in log
    assert f"{name} did not start; see build/load-{name}.log" in log
    assert not any("bench" in call for call in calls)
    assert time.monotonic() - started_s < 50


def test_port_in_use_is_an_error(apps: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code, calls, log = load(apps, MODEL="m", PORT=str(listener.getsockname()[1]))
    assert (code, calls) == (1, [])
    assert "is in use" in log


def test_missing_environment_error_names_the_command(apps: Path) -> None:
    code, _, log = load(apps, PYTHON="/no/python")
    assert code == 1
    assert "make test" in log


def test_every_flag_it_uses_exists() -> None:
    bench = typer.main.get_group(app).commands["load"]
    known = {flag for parameter in bench.params for flag in parameter.opts}
    settings = {f"--{name.replace('_', '-')}" for _, name, _ in fields()} | {"--no-ui"}
    text = SCRIPT.read_text(encoding="utf-8")
    used = {word.strip(",)") for word in text.split() if word.startswith("--")}
    assert used - {"--shape", "--kind", "--engine"} <= known | settings
