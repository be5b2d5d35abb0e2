"""The load command against a real server in a process of its own: all well, the wrong key, and a server that dies under it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.process import Launched, launched, wait_until

LIGHT = ("--documents", "3", "--words", "8", "--warm-up", "0")


@pytest.fixture(scope="module")
def server() -> Iterator[Launched]:
    with launched("shortlist", "serve", "demo", "--no-ui", "--cache-bytes", "0", SHORTLIST_API_KEY="open-sesame") as running:
        yield running


def load(*words: str, key: str | None = "open-sesame") -> subprocess.Popen[str]:
    own = {} if key is None else {"SHORTLIST_API_KEY": key}
    return subprocess.Popen(
        [sys.executable, "-m", "shortlist", "bench", "load", *words, *LIGHT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": "src:.", "COLUMNS": "160", **own},
    )


@pytest.mark.parametrize("dialect", ["rerank", "openai"])
def test_a_real_server_answers_everything_right(server: Launched, tmp_path: Path, dialect: str) -> None:
    flags = ["--users", "4", "--rate", "20", "--duration", "1.5", "--check", "2", "--dialect", dialect]
    shown, log = load(f"ours={server.url}", *flags, "--json", str(tmp_path / "a.json")).communicate(timeout=90)
    found = json.loads((tmp_path / "a.json").read_bytes()) if (tmp_path / "a.json").exists() else {}
    assert [set(row["fates"]) for row in found["figures"]] == [{"ok"}, {"ok"}], log
    assert [row["check"]["num_checked"] for row in found["figures"]] == [6, 6]
    assert all(row["check"]["largest"] < 1e-4 for row in found["figures"])
    assert all(row["qps"]["median"] > 0 and row["p99_s"] > 0 for row in found["figures"])
    assert "4 users" in shown
    assert "20/s" in shown


@pytest.mark.parametrize("key", [None, "wrong"])
def test_wrong_key_fails_at_once(server: Launched, key: str | None) -> None:
    run = load(server.url, "--duration", "60", key=key)
    shown, log = run.communicate(timeout=60)
    assert run.returncode == 3
    assert "401 The API key is missing or wrong" in " ".join(log.split())
    assert shown == ""


def num_documents(url: str) -> float:
    """How many documents the server has ranked so far."""
    lines = httpx2.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("shortlist_documents_total"))


@pytest.mark.full
def test_a_server_that_dies_is_in_the_report() -> None:
    with launched("shortlist", "serve", "demo", "--no-ui", "--cache-bytes", "0") as server:
        run = load(server.url, "--users", "3", "--duration", "6", key=None)
        wait_until(lambda: num_documents(server.url) > 3 or run.poll() is not None, 60)  # three are the greeting's
        server.process.kill()
        shown, log = run.communicate(timeout=60)
    assert run.returncode == 1, log
    assert " cut" in shown
    assert "3 users, 127.0.0.1" in shown  # what was wrong, in words
