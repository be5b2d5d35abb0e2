"""Pauses Python's garbage collector during a start.

The collector scans all objects repeatedly while many are created, and stops all threads meanwhile. Modules and models live as
long as the process: they are not scanned while they load, nor afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def pause() -> None:
    """Collect nothing until this process has settled: it has begun to load what stays."""
    gc.disable()


def resume_and_freeze() -> None:
    """Pass over what is there by now, and collect what is made from now on."""
    gc.collect()
    gc.freeze()
    gc.enable()


def resume() -> None:
    """Undo both: what was there to stay is not any more."""
    gc.unfreeze()
    gc.enable()


@contextmanager
def paused_during_start() -> Iterator[None]:
    """Hold, for a block in which a process starts, settles and lives; it is undone however that ends."""
    pause()
    try:
        yield
    finally:
        resume()


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing while many objects are made at once; another thread that is here as well may end it sooner."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
