"""The tree of a process is found through parents and sessions, and its peak is the sum of theirs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shortlist.bench.tree import members, peak_bytes


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A process table: 10 with child 11 and grandchild 12; 13 was adopted by 1 but is in the session; 20 is a stranger."""
    for pid, name, parent, session, peak_kib in [
        (1, "init", 0, 1, 7),
        (10, "server", 5, 10, 100),
        (11, "a (b) c", 10, 10, 20),
        (12, "moved away", 11, 12, 3),
        (13, "orphan", 1, 10, 4),
        (14, "zombie", 10, 10, None),
        (20, "stranger", 5, 5, 1000),
    ]:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} {pid} {session} 0 -1")
        (folder / "status").write_text(f"Name:\t{name}\n" + (f"VmHWM:\t {peak_kib} kB\n" if peak_kib else ""))
    (tmp_path / "self").mkdir()
    return tmp_path


def test_children_and_the_session_belong_to_it(proc: Path) -> None:
    assert members(10, proc) == {10, 11, 12, 13, 14}
    assert members(20, proc) == {20}


def test_peaks_add_up(proc: Path) -> None:
    assert peak_bytes(10, proc) == (100 + 20 + 3 + 4) * 1024


def test_a_process_that_ends_meanwhile_counts_nothing(proc: Path) -> None:
    (proc / "11" / "status").unlink()
    (proc / "13" / "stat").unlink()
    assert peak_bytes(10, proc) == (100 + 3) * 1024


def test_nothing_is_made_up_where_nothing_is_known(tmp_path: Path) -> None:
    assert members(10, tmp_path) == set()
    assert peak_bytes(10, tmp_path) is None


def test_this_very_process_has_a_peak() -> None:
    assert (peak_bytes(os.getpid()) or 0) > 1_000_000
