"""Every example of docs/cli.md is run, in order, and gives what the page shows; every command and exit code is on the page."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shortlist import cli
from tests.support.fixtures import ModelFactory
from tests.support.process import Launched, launched, wait_until
from tests.support.serving import free_port

PAGE = Path("docs/cli.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
SERVERS = ("shortlist demo", "shortlist serve")
UNTESTED = {"SHORTLIST_SELF_TEST": "off"}
"""The demo model's self-test takes seconds, shows nothing on the page, and has tests of its own."""


@dataclass(frozen=True)
class Example:
    """A command, and what the page shows of its output."""

    command: str
    shown: str


def examples() -> Iterator[Example]:
    for block in BLOCK.findall(PAGE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            end = part.index("\nEND\n") + 5 if "<<'END'" in part else part.index("\n") + 1
            yield Example(part[:end].strip("\n"), part[end:])


EXAMPLES = list(examples())
ASKED = [example for example in EXAMPLES if not example.command.startswith(SERVERS)]
SERVED = [example for example in EXAMPLES if example.command.startswith(SERVERS)]


def check(seen: str, shown: str) -> None:
    """Compare, numbers by their size and blanks at ends of lines not at all; `...` stands for any lines."""
    lines = [line.rstrip() for line in seen.splitlines()]
    parts = [part.strip("\n").splitlines() for part in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)]
    for part in parts:
        size = len(part)
        found = [start for start in range(len(lines) - size + 1) if all(map(is_like, lines[start:], part))]
        assert found, f"{part} is not in {seen}"
        lines = lines[found[0] + size :]
    assert len(parts) > 1 or not [line for line in lines if line], seen


def is_like(seen: str, shown: str) -> bool:
    if NUMBER.sub("0", seen) != NUMBER.sub("0", shown):
        return False
    pairs = zip(NUMBER.findall(seen), NUMBER.findall(shown), strict=True)
    return all(float(one) == pytest.approx(float(other), abs=2e-3) for one, other in pairs)


@pytest.fixture(scope="module")
def server() -> Iterator[Launched]:
    with launched("shortlist", "demo", **UNTESTED) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_model: ModelFactory) -> Path:
    """A folder to work in, with a `shortlist` on the way and a reranker that needs no hub."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "bin").mkdir()
    for name, module in (("shortlist", " -m shortlist"), ("python", "")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable}{module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    shutil.copytree(make_model(kind="reranker"), folder / "my-reranker")
    return folder


@pytest.mark.parametrize("example", ASKED, ids=lambda example: example.command.splitlines()[0])
def test_example_output_equals_the_page(example: Example, server: Launched, folder: Path) -> None:
    done = run(example.command.replace("http://localhost:8080", server.url), folder)
    assert done.stderr == ""
    check(done.stdout.replace(server.url, "http://localhost:8080"), example.shown)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "SHORTLIST_"))}  # noqa: TID251
    env = {**kept, "PATH": f"{folder / 'bin'}:{kept['PATH']}", "HF_HOME": str(folder / "hf"), "COLUMNS": "80", **UNTESTED}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False
    )


def test_first_server_example_prints_what_the_page_shows(server: Launched) -> None:
    [demo, _] = SERVED
    assert demo.command == "shortlist demo"
    wait_until(lambda: "Ctrl-C" in server.log())  # it is ready before it has said so
    check(server.log().replace(server.url, "http://127.0.0.1:8080"), demo.shown)


def test_second_server_example_prints_what_the_page_shows_and_stops() -> None:
    [_, serve] = SERVED
    port = free_port()
    arguments = serve.command.removeprefix("shortlist ").split()
    command = [sys.executable, "-m", "shortlist", *arguments, "--port", str(port)]
    seen = ""
    env = {**os.environ, **UNTESTED}  # noqa: TID251
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        for line in process.stderr:
            seen += line
            if "Ctrl-C" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    check(seen.replace(str(port), "8080"), serve.shown)


def test_every_command_is_on_the_page() -> None:
    commands = {name for name in cli.COMMANDS if name != "bench"} | {"bench load"}
    assert {name for name in commands if f"`{name}`" in PAGE} == commands
    used = {name for name in commands if any(f"shortlist {name}" in example.command for example in EXAMPLES)}
    assert used == commands
    group = cli.load("models")
    assert {name for name in group.commands if f"shortlist models {name}" in PAGE} == set(group.commands)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (Path("docs") / target).exists(), target
    headings = {re.sub(r"[^a-z ]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings
