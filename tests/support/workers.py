"""Engines for workers to load that need no torch, and a look at which workers there are.

A worker finds this module by `PYTHONPATH`, which `visible` sets.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shortlist.engine.base import Engine
from shortlist.errors import EngineError, EngineUnavailable, ModelRefused
from shortlist.types import RERANK, Batch, Operation, TokenPrefix, TokenPrompt, WorkItem
from tests.support.fake_engine import FakeEngine

ROOT = Path(__file__).parents[2]
UNCOMPUTABLE = 13
"""Batches of so many tokens fail, where a fake is `picky`."""


def visible(patch: pytest.MonkeyPatch) -> None:
    """Have workers find this module."""
    patch.setenv("PYTHONPATH", str(ROOT))


def batch_of(*lengths: int, task: Operation = RERANK) -> Batch:
    """Return a batch of prompts of these lengths, whose ids and thus scores are their places."""
    prefix = TokenPrefix(np.zeros(0, np.int32))
    prompts = [TokenPrompt(prefix, np.full(length, place, np.int32)) for place, length in enumerate(lengths)]
    return Batch(task, tuple(WorkItem(0, place, prompt) for place, prompt in enumerate(prompts)))


def pids(parent: int | None = None) -> list[int]:
    """Return the workers of a process, of this one if none is named."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    owner = os.getpid() if parent is None else parent
    return [
        int(pid)
        for pid, ppid, state, args in (row for row in rows if len(row) == 4)
        if "shortlist.engine.workers.worker" in args and state[0] != "Z" and int(ppid) == owner
    ]


def are_there(those: Sequence[int]) -> bool:
    """Return whether any of these processes is, and not only as an entry that its parent has not read yet."""
    return any(_state(pid) not in {"", "Z"} for pid in those)


def _state(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


# -- what a worker can be told to load ----------------------------------------------------------------------------------


def fake(*, device: str, token_s: float = 0.0, is_picky: bool = False) -> Engine:
    engine = FakeEngine(token_s=token_s, fault=_picky if is_picky else None)
    engine._info = replace(engine.info, device=device)
    return engine


def _picky(batch: Batch) -> None:
    if batch.num_tokens == UNCOMPUTABLE:
        raise EngineError("an unlucky number of tokens")


class Telltale(FakeEngine):
    """Scores with the number of the process that it is in."""

    async def score(self, batch: Batch) -> Sequence[float]:
        await super().score(batch)
        return [float(os.getpid())] * len(batch.items)


def telltale(*, device: str) -> Engine:
    return Telltale(token_s=0.001)


def lost(*, device: str) -> Engine:
    def lose(batch: Batch) -> None:
        raise EngineUnavailable("the device is lost")

    return FakeEngine(fault=lose)


def unlike(*, device: str) -> Engine:
    engine = FakeEngine()
    engine._info = replace(engine.info, device=device, fingerprint=f"of {device}")
    return engine


def refused_by_one(*, device: str) -> Engine:
    """The second device refuses, while the first one takes its time."""
    if device == "cpu:1":
        raise ModelRefused("model.safetensors is not what it should be")
    return endless(device=device)


def failing(*, device: str) -> Engine:
    raise RuntimeError("a secret")


def ending(*, device: str) -> Engine:
    os._exit(3)


def endless(*, device: str) -> Engine:
    print("loading", flush=True)
    time.sleep(600)
    raise AssertionError("a call was waiting")
