"""Tests the process tree, which follows parents and sessions, the sum of memory peaks, and GPU shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from benchmarks.engines.memory import Gpu, GpuShares, gpu_of, members, peak_bytes
from shortlist.errors import BadSetting


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A process table: 10 with child 11 and grandchild 12; 13 was adopted by 1 but is in the session; 20 is unrelated."""
    for pid, name, parent, session, peak_kib in [
        (1, "init", 0, 1, 7),
        (10, "server", 5, 10, 100),
        (11, "a (b) c", 10, 10, 20),
        (12, "moved away", 11, 12, 3),
        (13, "orphan", 1, 10, 4),
        (14, "zombie", 10, 10, None),
        (20, "unrelated", 5, 5, 1000),
    ]:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} {pid} {session} 0 -1")
        (folder / "status").write_text(f"Name:\t{name}\n" + (f"VmHWM:\t {peak_kib} kB\n" if peak_kib else ""))
    (tmp_path / "self").mkdir()
    return tmp_path


def test_members_are_descendants_and_the_session(proc: Path) -> None:
    assert members(10, proc) == {10, 11, 12, 13, 14}
    assert members(20, proc) == {20}


def test_peaks_of_all_processes_are_summed(proc: Path) -> None:
    assert peak_bytes(10, proc) == (100 + 20 + 3 + 4) * 1024


def test_exited_process_counts_nothing(proc: Path) -> None:
    (proc / "11" / "status").unlink()
    (proc / "13" / "stat").unlink()
    assert peak_bytes(10, proc) == (100 + 3) * 1024


def test_unknown_process_has_no_peak(tmp_path: Path) -> None:
    assert members(10, tmp_path) == set()
    assert peak_bytes(10, tmp_path) is None


def test_current_process_has_a_peak() -> None:
    assert (peak_bytes(os.getpid()) or 0) > 1_000_000


class FakeGpuMemory:
    """A fake GPU memory."""

    def __init__(self, used: int = 1000) -> None:
        self.used = used

    def used_bytes(self) -> int:
        return self.used


def test_memory_counts_for_the_contender_that_ran() -> None:
    memory = FakeGpuMemory()
    shares = GpuShares(Gpu("Example GPU", memory.used_bytes))
    for name, num_bytes in [("one", 10), ("two", 200), ("one", 5), ("two", 0)]:
        with shares.measure(name):
            memory.used += num_bytes
    assert (shares.peak_bytes_of("one"), shares.peak_bytes_of("two"), shares.peak_bytes_of("three")) == (15, 200, None)


def test_largest_gpu_memory_counts() -> None:
    memory = FakeGpuMemory()
    shares = GpuShares(Gpu("Example GPU", memory.used_bytes))
    for num_bytes in (100, -70, 20):
        with shares.measure("one"):
            memory.used += num_bytes
    assert shares.peak_bytes_of("one") == 100


def test_memory_freed_at_an_exit_counts_for_no_contender() -> None:
    memory = FakeGpuMemory()
    shares = GpuShares(Gpu("Example GPU", memory.used_bytes))
    with shares.measure("one"):
        memory.used += 100
    memory.used -= 100
    with shares.measure("two"):
        memory.used += 30
    assert (shares.peak_bytes_of("one"), shares.peak_bytes_of("two")) == (100, 30)


def test_nothing_is_measured_on_a_cpu() -> None:
    assert gpu_of("cpu") is None
    shares = GpuShares(None)
    with shares.measure("one"):
        pass
    assert shares.peak_bytes_of("one") is None


def test_unavailable_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(BadSetting, match="torch sees 0 CUDA devices"):
        gpu_of("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_gpu_has_name_and_memory() -> None:
    gpu = gpu_of("cuda")
    assert gpu is not None
    assert gpu.name
    before = gpu.used_bytes()
    tensor = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    assert gpu.used_bytes() >= before + (1 << 28)
    del tensor
