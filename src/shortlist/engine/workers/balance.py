"""Balances workers: the next batch goes to the least loaded one, and CPUs are divided evenly.

CPU workers that each use all CPUs would wait for each other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

_NODES: Final = Path("/sys/devices/system/node")


def least_loaded(loads: Sequence[int]) -> int:
    """Return the index of the smallest load, the first of several.

    Args:
        loads: In-flight tokens of every worker.
    """
    return min(range(len(loads)), key=loads.__getitem__)


def shares_of(devices: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the CPUs of a worker per device; empty if it may use all."""
    num_shares = sum(map(_is_cpu, devices))
    shares = iter(divided(nodes(), num_shares) if num_shares > 1 else [()] * num_shares)
    return [next(shares) if _is_cpu(device) else () for device in devices]


def divided(nodes: Sequence[Sequence[int]], num_shares: int) -> list[tuple[int, ...]]:
    """Return shares of the CPUs that differ by at most one; all empty if there are fewer CPUs than shares.

    Args:
        nodes: The CPUs of every NUMA node; CPUs of one node stay together.
        num_shares: Number of shares.
    """
    cores = [core for node in nodes for core in node]
    if len(cores) < num_shares:
        return [()] * num_shares
    ends = [len(cores) * number // num_shares for number in range(num_shares + 1)]
    return [tuple(cores[start:end]) for start, end in pairwise(ends)]


def nodes(folder: Path = _NODES) -> list[list[int]]:
    """Return the CPUs available to this process by NUMA node; one list if the nodes are unknown.

    Source: Linux, Documentation/ABI/stable/sysfs-devices-node: nodeN/cpulist has lists such as 0-3,8.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    ours = os.sched_getaffinity(0)
    found = [sorted(ours & _listed(path.read_text())) for path in sorted(folder.glob("node[0-9]*/cpulist"))]
    return found if sum(map(len, found)) == len(ours) else [sorted(ours)]


def _is_cpu(device: str) -> bool:
    return device.partition(":")[0] == "cpu"


def _listed(text: str) -> set[int]:
    ranges = [part.partition("-") for part in text.strip().split(",") if part]
    return {core for first, _, last in ranges for core in range(int(first), int(last or first) + 1)}
