"""A process and all that came of it: who they are, and how much memory they needed at most. Reads /proc, so Linux only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table."""

    pid: int
    parent: int
    session: int


def members(root: int, proc: Path = PROC) -> set[int]:
    """Return the process, its descendants, and everything in its session, which outlives a parent that went away."""
    table = list(_table(proc))
    found = {process.pid for process in table if root in {process.pid, process.session}}
    while grown := {process.pid for process in table if process.parent in found} - found:
        found |= grown
    return found


def peak_bytes(root: int, proc: Path = PROC) -> int | None:
    """Return the sum of what each living process of the tree needed at its own peak; None where that cannot be known.

    Units:
        Bytes. Pages that several processes share, such as those of a mapped file, count once for each.
    """
    peaks = [_peak(proc / str(pid)) for pid in members(root, proc)]
    return sum(peaks) or None


def _table(proc: Path) -> Iterator[Process]:
    for path in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            _, parent, _, session = path.read_text(errors="replace").rpartition(")")[2].split()[:4]
            yield Process(int(path.parent.name), int(parent), int(session))


def _peak(process: Path) -> int:
    """Source: proc(5); VmHWM is the high-water mark of resident memory, in KiB. Kernel threads and zombies have none."""
    with contextlib.suppress(OSError):
        for line in (process / "status").read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KIB
    return 0
