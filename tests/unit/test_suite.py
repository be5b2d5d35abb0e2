"""The suite says what it did not test."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.lacking import not_tested


def skipped(reason: str) -> pytest.TestReport:
    where = ("tests/test_a.py", 7, f"Skipped: {reason}")
    return pytest.TestReport("test_a", ("", None, ""), {}, "skipped", where, "setup")


def test_missing_dependency_is_reported_once_with_the_number_of_skipped_tests() -> None:
    reports = [skipped("redis-server is not installed")] * 3 + [skipped("chromium is not installed (apt-get install chromium)")]
    assert list(not_tested(reports)) == [
        "not tested here: chromium is not installed (apt-get install chromium) (1 skipped)",
        "not tested here: redis-server is not installed (3 skipped)",
    ]


def test_other_skip_reasons_do_not_count_as_missing() -> None:
    assert list(not_tested([skipped("needs a CUDA device")])) == []
    assert list(not_tested([])) == []


def test_missing_dependencies_are_in_the_last_lines_of_a_run() -> None:
    pytest.importorskip("redis", reason="redis is not installed")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/faults/test_redis.py",
        "-k",
        "full or expired",
    ]
    environ = {**os.environ, "PATH": "/nowhere", "PYTHONPATH": os.pathsep.join(sys.path)}  # noqa: TID251
    environ.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert "not tested here: redis-server is not installed (2 skipped)" in done.stdout.splitlines()[-3:], done.stdout
