"""The tree of a process is found through parents and sessions, and its peak is the sum of theirs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from benchmarks.engines.memory import Gpu, Shares, gpu_of, members, peak_bytes
from shortlist.errors import BadSetting


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


class Memory:
    """What is taken of a GPU that is not there."""

    def __init__(self, taken: int = 1000) -> None:
        self.taken = taken

    def used_bytes(self) -> int:
        return self.taken


def test_memory_counts_for_the_contender_that_ran() -> None:
    memory = Memory()
    shares = Shares(Gpu("Example GPU", memory.used_bytes))
    for name, num_bytes in [("one", 10), ("two", 200), ("one", 5), ("two", 0)]:
        with shares.counted(name):
            memory.taken += num_bytes
    assert (shares.most("one"), shares.most("two"), shares.most("three")) == (15, 200, None)


def test_most_counts_and_not_the_last() -> None:
    memory = Memory()
    shares = Shares(Gpu("Example GPU", memory.used_bytes))
    for num_bytes in (100, -70, 20):
        with shares.counted("one"):
            memory.taken += num_bytes
    assert shares.most("one") == 100


def test_memory_freed_at_an_exit_counts_for_no_contender() -> None:
    memory = Memory()
    shares = Shares(Gpu("Example GPU", memory.used_bytes))
    with shares.counted("one"):
        memory.taken += 100
    memory.taken -= 100
    with shares.counted("two"):
        memory.taken += 30
    assert (shares.most("one"), shares.most("two")) == (100, 30)


def test_nothing_is_counted_on_a_cpu() -> None:
    assert gpu_of("cpu") is None
    shares = Shares(None)
    with shares.counted("one"):
        pass
    assert shares.most("one") is None


def test_gpu_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(BadSetting, match="torch sees 0 CUDA devices"):
        gpu_of("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_gpu_has_name_and_memory() -> None:
    gpu = gpu_of("cuda")
    assert gpu is not None
    assert gpu.name
    before = gpu.used_bytes()
    kept = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    assert gpu.used_bytes() >= before + (1 << 28)
    del kept
