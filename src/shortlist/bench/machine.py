"""Describes the machine and software of a benchmark run."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import sys
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

PACKAGES: Final = ("shortlist", "torch", "numpy", "tokenizers")
_CPUINFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine and the software on it."""

    cpu: str  # the processor's model name
    num_cores: int  # logical cores that this process may use
    memory_bytes: int | None  # total; None if the system does not report it
    system: str  # operating system and release
    python: str
    versions: dict[str, str]  # of the relevant installed packages
    date: str  # today, UTC
    command: str  # the command line, shell-quoted
    gpu: str | None = None  # the GPU computed on; None on a CPU


def describe(hidden: Collection[str] = (), *, gpu: str | None = None, program: str = "shortlist") -> Machine:
    """Return the description of this machine.

    Args:
        hidden: Secrets that stand on the command line, and in no report.
        gpu: The name of the GPU that is computed on, if that is where.
        program: What stands on the command line before its arguments.
    """
    return Machine(
        cpu=_cpu(),
        num_cores=_num_cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=dict(_versions()),
        date=datetime.now(UTC).date().isoformat(),
        command=shlex.join([*program.split(), *(_without(hidden, word) for word in sys.argv[1:])]),
        gpu=gpu,
    )


def _without(hidden: Collection[str], word: str) -> str:
    """Return a command-line word with a secret replaced by three stars, whether it is the whole word or its value."""
    for secret in hidden:
        if word == secret or word.endswith(f"={secret}"):
            return f"{word.removesuffix(secret)}***"
    return word


def _cpu(cpuinfo: Path = _CPUINFO) -> str:
    """Source: proc(5); the field is called `model name` on x86 and missing on some ARM machines."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append((name, version(name)))
    return found
