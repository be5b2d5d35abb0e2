"""A fork that runs a command is a process as the command's own would be."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from shortlist import __version__
from tests.support.preloaded import ENVIRON, Fork, may_fork
from tests.support.process import finished, launched, start


def test_exit_code_and_both_outputs_are_the_commands() -> None:
    shown = finished("--version")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, f"{__version__}\n", "")
    wrong = finished("serve", "--no-such-flag")
    assert (wrong.returncode, wrong.stdout, "--no-such-flag" in wrong.stderr) == (2, "", True)


def test_settings_and_folder_are_those_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("port = 1\n")
    monkeypatch.chdir(tmp_path)
    refused = finished("serve", "demo", "--config", "mine.toml", SHORTLIST_TOP_SECRET="1")
    assert "top_secret" in refused.stderr
    assert "SHORTLIST_TOP_SECRET" not in os.environ  # noqa: TID251


def test_signals_end_one_fork_and_not_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {name for name, _ in os.environ.items() ^ ENVIRON.items()}:  # noqa: TID251 - what imports of other tests have set
        monkeypatch.delenv(name, raising=False)
        if name in ENVIRON:
            monkeypatch.setenv(name, ENVIRON[name])
    with start("tests.support.fakeserver") as killed, launched("tests.support.fakeserver") as server:
        assert isinstance(server.process, Fork)
        assert killed.process.pid != server.process.pid
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(timeout=0)
        killed.process.kill()
        assert killed.process.wait(timeout=30) == -signal.SIGKILL
        assert server.process.poll() is None
        server.process.terminate()
        assert server.process.wait(timeout=30) == 0
        assert "signal=SIGTERM" in server.log()


def test_only_settings_may_differ_from_what_the_imports_have_read() -> None:
    assert may_fork("shortlist", {**ENVIRON, "SHORTLIST_PORT": "1"})
    assert not may_fork("shortlist", {**ENVIRON, "OMP_NUM_THREADS": "1"})
    assert not may_fork("shortlist", {name: value for name, value in ENVIRON.items() if name != "PATH"})
    assert not may_fork("uvicorn", ENVIRON)
