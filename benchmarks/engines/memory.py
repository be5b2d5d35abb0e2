"""How much memory contenders need: the processes of each, at their peaks, and the share of a GPU that each holds.

What is known of processes is read from /proc, so on Linux only. What is known of a GPU comes from the driver, through the
engine's torch, which is loaded only where there is a GPU to be asked about.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shortlist.errors import BadSetting

CPU: Final = "cpu"

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


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        name: Its own.
        used_bytes: Returns how much of its memory is taken, by whomever.
    """

    name: str
    used_bytes: Callable[[], int]


def gpu_of(device: str) -> Gpu | None:
    """Return the GPU of this name; None for the CPU.

    Raises:
        BadSetting: it is not here, or nothing is installed that could use it.
    """
    if device == CPU:
        return None
    try:
        from shortlist.engine.device import gpu_name, gpu_readings, pick_device
    except ModuleNotFoundError as error:
        raise BadSetting(f"device is {device!r}, for which {error.name} is needed: pip install 'shortlist[native]'") from None
    place = str(pick_device(device))
    return Gpu(gpu_name(place), lambda: sum(reading.used_bytes for reading in gpu_readings([place])))


class Shares:
    """How much of a GPU's memory contenders hold.

    One is asked at a time, and the others rest: what is taken after it was asked and was not before is its own. So no target
    has to tell, and processes that hide from one another are counted alike.

    Args:
        gpu: Which; None counts nothing.
    """

    def __init__(self, gpu: Gpu | None) -> None:
        self._gpu = gpu
        self._held: dict[str, int] = defaultdict(int)
        self._most: dict[str, int] = {}

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Count what becomes of the memory within the block as the doing of one contender."""
        if self._gpu is None:
            yield
            return
        before_bytes = self._gpu.used_bytes()
        yield
        self._held[name] += self._gpu.used_bytes() - before_bytes
        self._most[name] = max(self._held[name], self._most.get(name, 0))

    def most(self, name: str) -> int | None:
        """Return the most that it held whenever it had been asked; None if nothing was counted."""
        return self._most.get(name)
