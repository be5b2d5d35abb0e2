"""Pauses Python's garbage collector during the start and freezes the objects that the start creates.

A collection scans all objects and stops all threads, repeatedly while many objects are created. Modules and models live as
long as the process, so they are excluded from collection while they load and afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
