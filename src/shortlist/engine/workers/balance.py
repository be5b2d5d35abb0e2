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
    """Return the place of the smallest load, the first of several.

    Args:
        loads: Tokens that are under way at each worker.
    """
    return min(range(len(loads)), key=loads.__getitem__)


def shares_of(devices: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the processors for a worker on each of these devices; empty for one that may use all."""
    num_shares = sum(map(_is_cpu, devices))
    shares = iter(divided(nodes(), num_shares) if num_shares > 1 else [()] * num_shares)
    return [next(shares) if _is_cpu(device) else () for device in devices]


def divided(nodes: Sequence[Sequence[int]], num_shares: int) -> list[tuple[int, ...]]:
    """Return shares of the processors that differ by one at most; all empty, if there are too few for one each.

    Args:
        nodes: The processors of every memory node; those of one node stay together.
        num_shares: How many shares.
    """
    cores = [core for node in nodes for core in node]
    if len(cores) < num_shares:
        return [()] * num_shares
    ends = [len(cores) * number // num_shares for number in range(num_shares + 1)]
    return [tuple(cores[start:end]) for start, end in pairwise(ends)]


def nodes(folder: Path = _NODES) -> list[list[int]]:
    """Return the processors that we may use, by the memory that is next to them; in one list if unknown.

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
