"""Measures the memory of contenders: the peak of their processes, and their share of a GPU's memory.

Process data comes from /proc, so on Linux only. GPU data comes from the driver through torch, which is imported only for a GPU.
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
from shortlist.installation import install_hint

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
    """Return the process, its descendants and all processes of its session; a session outlives an exited parent."""
    table = list(_table(proc))
    pids = {process.pid for process in table if root in {process.pid, process.session}}
    while children := {process.pid for process in table if process.parent in pids} - pids:
        pids |= children
    return pids


def peak_bytes(root: int, proc: Path = PROC) -> int | None:
    """Return the sum of the peaks of all living processes in the tree; None if unknown.

    Units:
        Bytes. Pages shared by several processes, such as those of a mapped file, count once per process.
    """
    peaks = [_peak(proc / str(pid)) for pid in members(root, proc)]
    return sum(peaks) or None


def _table(proc: Path) -> Iterator[Process]:
    for path in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process may have exited
            _, parent, _, session = path.read_text(errors="replace").rpartition(")")[2].split()[:4]
            yield Process(int(path.parent.name), int(parent), int(session))


def _peak(process: Path) -> int:
    """Return the peak resident memory of a process in bytes; 0 for kernel threads and zombies, which have none.

    Source: proc(5); VmHWM is the high-water mark of resident memory, in KiB.
    """
    with contextlib.suppress(OSError):
        for line in (process / "status").read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KIB
    return 0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        name: The product name.
        used_bytes: Returns the used memory, of all processes together.
    """

    name: str
    used_bytes: Callable[[], int]


def gpu_of(device: str) -> Gpu | None:
    """Return the GPU with this device name; None for the CPU.

    Raises:
        BadSetting: the GPU is not available, or torch is not installed.
    """
    if device == CPU:
        return None
    try:
        from shortlist.engine.device import gpu_name, gpu_readings, pick_device
    except ModuleNotFoundError as error:
        raise BadSetting(f"device {device!r} requires the package {error.name}: {install_hint('native')}") from None
    torch_device = str(pick_device(device))
    return Gpu(gpu_name(torch_device), lambda: sum(reading.used_bytes for reading in gpu_readings([torch_device])))


class GpuShares:
    """The GPU memory held by each contender.

    One contender runs at a time, and the others are stopped. The change of the used memory while it runs counts as its own. So
    contenders need not report their memory, and processes in other namespaces count too.

    Args:
        gpu: The GPU; None measures nothing.
    """

    def __init__(self, gpu: Gpu | None) -> None:
        self._gpu = gpu
        self._held_bytes: dict[str, int] = defaultdict(int)
        self._peak_bytes: dict[str, int] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Attribute the change of used memory within the block to a contender."""
        if self._gpu is None:
            yield
            return
        before_bytes = self._gpu.used_bytes()
        yield
        self._held_bytes[name] += self._gpu.used_bytes() - before_bytes
        self._peak_bytes[name] = max(self._held_bytes[name], self._peak_bytes.get(name, 0))

    def peak_bytes_of(self, name: str) -> int | None:
        """Return the largest memory that a contender held after a block; None without a measurement."""
        return self._peak_bytes.get(name)
