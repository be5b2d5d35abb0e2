"""Settings of the C library's memory allocator. Others, as on macOS and Alpine, are left as they are."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Final

ARENA_MAX: Final = -8
"""Source: M_ARENA_MAX in malloc.h of the GNU C library."""


def limit_arenas() -> None:
    """Give threads at most as many heaps as there are processors, instead of eight times as many.

    Each keeps what a large request leaves in it. Source: mallopt(3). `MALLOC_ARENA_MAX` in the environment comes first.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:  # noqa: TID251 - a setting of the C library
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(ARENA_MAX, os.cpu_count() or 1)


def trim() -> None:
    """Return free memory to the system; takes milliseconds. Source: malloc_trim(3): it otherwise stays with the process."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
