"""A child is waited for, explained when it fails, and ended with all that it started, whatever happens to whom.

The child here is a few lines of Python that answer as vLLM does when it is up; what a real one does is tested with a real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shortlist.engine.vllm.process import VllmProcess, find_executable, free_port, version_of
from shortlist.errors import BadSetting, ModelRefused
from tests.support.process import wait_until
from tests.support.vllm import is_up, members

SERVES = """
    import http.server, os, subprocess, sys
    print("(EngineCore) Initializing a V1 LLM engine with config: dtype=torch.bfloat16, x", flush=True)
    print("hello", os.environ.get("GREETING"), file=sys.stderr, flush=True)
    worker = subprocess.Popen([sys.executable, "-c", "import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers()
        def log_message(self, *_): pass
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
FAILS = """
    import sys
    print("torch.OutOfMemoryError: CUDA out of memory. Tried", flush=True)
    sys.exit(1)
"""
MUMBLES = """
    print("WARNING nothing")
    print("ValueError: the moon is too bright")
    raise SystemExit(1)
"""


def program(folder: Path, text: str) -> str:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(text))
    return str(path)


@contextmanager
def child(folder: Path, text: str, said: list[str] | None = None, **environ: str) -> Iterator[VllmProcess]:
    port = free_port()
    command = [sys.executable, program(folder, text), str(port)]
    one = VllmProcess(command, environ=environ, port=port, notify=(said if said is not None else []).append)
    try:
        yield one
    finally:
        one.close()


def test_start_waits_and_reports_output_as_progress(tmp_path: Path) -> None:
    said: list[str] = []
    with child(tmp_path, SERVES, said) as one:
        one.wait_until_ready()
        assert one.is_running
        assert is_up(one.url)
        wait_until(lambda: one.dtype == "bfloat16")
    assert said == ["vLLM starts its engine"]


def test_environment_is_given_unless_the_person_has_set_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for set_by_person, expected in ((None, "hello ours"), ("theirs", "hello theirs")):
        if set_by_person:
            monkeypatch.setenv("GREETING", set_by_person)
        with child(tmp_path, SERVES, GREETING="ours") as one:
            one.wait_until_ready()
            wait_until(lambda one=one, expected=expected: expected in one._lines)  # type: ignore[misc]


@pytest.mark.parametrize(("text", "words"), [(FAILS, "lower gpu_memory_utilization"), (MUMBLES, "the moon is too bright")])
def test_end_before_it_answers_is_explained(tmp_path: Path, text: str, words: str) -> None:
    with child(tmp_path, text) as one, pytest.raises(ModelRefused, match=words):
        one.wait_until_ready()


def test_closing_ends_the_process_and_its_children(tmp_path: Path) -> None:
    with child(tmp_path, SERVES) as one:
        one.wait_until_ready()
        group = one.group
        assert len(members(group)) == 3  # the guard, the child, and its worker, which does not heed SIGTERM
        one.close()
        one.close()
        assert not one.is_running
        wait_until(lambda: not members(group), 2)


@pytest.mark.parametrize("whom", ["supervisor", "child"])
def test_killing_one_of_them_ends_all(tmp_path: Path, whom: str) -> None:
    with child(tmp_path, SERVES) as one:
        one.wait_until_ready()
        group = one.group
        victims = members(group)
        os.kill(group if whom == "supervisor" else min(pid for pid in victims if pid != group), signal.SIGKILL)
        wait_until(lambda: not one.is_running)
        wait_until(lambda: not members(group), 8)


OWNER = """
    import sys
    from shortlist.engine.vllm.process import VllmProcess
    port = int(sys.argv[2])
    one = VllmProcess([sys.executable, sys.argv[1], str(port)], environ={}, port=port, notify=print)
    one.wait_until_ready()
    print(one.group, flush=True)
    sys.stdin.read()
"""


def test_nothing_is_left_when_its_owner_is_killed(tmp_path: Path) -> None:
    script = program(tmp_path, SERVES)
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), script, str(free_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # noqa: TID251
    )
    assert owner.stdout is not None
    group = int(next(line for line in owner.stdout if line.strip().isdigit()))
    assert len(members(group)) == 3
    owner.kill()
    owner.communicate()
    wait_until(lambda: not members(group), 12)


# -- which vLLM ---------------------------------------------------------------------------------------------------------


def executable(folder: Path, text: str) -> Path:
    path = folder / "vllm"
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_executable_is_found_on_path_or_by_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = executable(tmp_path, "#!/bin/sh\n")
    assert find_executable(str(path)) == path
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_executable("vllm") == path


def test_missing_executable_is_refused_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadSetting, match=r"--vllm-executable.*pip install vllm"):
        find_executable("vllm")


def test_version_is_read_from_the_executable(tmp_path: Path) -> None:
    assert version_of(executable(tmp_path, "#!/bin/sh\necho INFO something\necho 0.33.0\n")) == "0.33.0"


def test_version_is_asked_of_the_python_that_runs_it_where_there_is_one(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text('#!/bin/sh\n[ "$1" = -c ] && echo 0.32.1+cpu\n')
    interpreter.chmod(0o755)
    assert version_of(executable(tmp_path, f"#!{interpreter}\nraise SystemExit(1)\n")) == "0.32.1+cpu"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\necho 0.9.2\n", "vLLM 0.9.2 is not supported"),
        ("#!/bin/sh\nexit 1\n", "does not look like vLLM"),
        ("#!/bin/sh\n", "does not look like vLLM"),
    ],
)
def test_other_versions_and_other_programs_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        version_of(executable(tmp_path, text))
