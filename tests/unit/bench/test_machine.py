"""A machine says of itself what a reader needs, and nothing is made up where it does not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from shortlist.bench import machine


def test_this_machine_describes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/shortlist", "bench", "load", "a url"])
    found = machine.describe()
    assert found.cpu
    assert found.num_cores >= 1
    assert (found.memory_bytes or 0) > 1024**2
    assert found.python.startswith("3.")
    assert "numpy" in found.versions
    assert ("torch" in found.versions) is (importlib.util.find_spec("torch") is not None)
    assert found.command == "shortlist bench load 'a url'"
    assert machine.describe(program="python -m benchmarks").command == "python -m benchmarks bench load 'a url'"


def test_secrets_on_the_command_line_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["shortlist", "--api-key", "it's secret", "--api-key=ours=key", "--key-is", "url"])
    found = machine.describe(hidden=["it's secret", "key", "k"])
    assert found.command == "shortlist --api-key '***' '--api-key=ours=***' --key-is url"


def test_processor_is_named_where_the_system_names_it(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\nmodel name\t: other\n")
    assert machine._cpu(cpuinfo) == "Example CPU @ 2 GHz"
    cpuinfo.write_text("processor\t: 0\n")
    assert machine._cpu(cpuinfo) == machine._cpu(tmp_path / "none")


def test_packages_that_are_not_there_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGES", ("rich", "no-such-package"))
    assert [name for name, _ in machine._versions()] == ["rich"]
