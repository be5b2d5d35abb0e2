"""Pauses Python's garbage collector during a start.

The collector scans all objects repeatedly while many are created, and stops all threads meanwhile. Modules and models live as
long as the process: they are not scanned while they load, nor afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from shortlist import allocator


def pause() -> None:
    """Disable collection while long-lived objects load."""
    gc.disable()


def resume_and_freeze() -> None:
    """Exclude all existing objects from collection, and enable it for new ones."""
    gc.collect()
    gc.freeze()
    gc.enable()


def resume() -> None:
    """Unfreeze all objects and enable collection."""
    gc.unfreeze()
    gc.enable()


def release_memory() -> None:
    """Collect all garbage, that of the start included, and return free memory to the system where the allocator can."""
    gc.unfreeze()
    gc.collect()
    allocator.trim()


@contextmanager
def paused_during_start() -> Iterator[None]:
    """Pause collection at the start of the block; unfreeze and enable it at the end, even after an error."""
    pause()
    try:
        yield
    finally:
        resume()


@contextmanager
def paused() -> Iterator[None]:
    """Disable collection while the block creates many objects. A concurrent block in another thread may enable it earlier."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
