"""The workspace is reused, grows, and uses large pages."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from shortlist.engine.native.cpu.workspace import LARGE_PAGE, Workspace


def test_workspace_is_reused_and_grows() -> None:
    workspace = Workspace()
    first = workspace.take(3, 64)
    assert first.shape == (3, 64)
    assert first.dtype == torch.bfloat16
    assert workspace.take(2, 32).data_ptr() == first.data_ptr()
    wider = workspace.take(40, 640).fill_(1)
    assert wider.data_ptr() % 64 == 0
    assert workspace.take(3, 64).data_ptr() == wider.data_ptr()
    assert wider.sum() == 40 * 640


def test_large_arrays_request_large_pages() -> None:
    if not hasattr(mmap, "MADV_HUGEPAGE") or not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this system has no large pages")
    found = Workspace().take(16 * LARGE_PAGE, 1)
    assert "hg" in flags_at(found.data_ptr() + LARGE_PAGE)


def flags_at(address: int) -> list[str]:
    """Return the system's flags of the mapping around an address: see proc_pid_smaps(5)."""
    is_inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            begin, end = (int(each, 16) for each in first.split("-"))
            is_inside = begin <= address < end
        elif is_inside and first == "VmFlags:":
            return rest
    return []
