"""Reused memory for forward passes and products, on large pages where the system has them.

Writing to new memory, which is in no cache and no page table, takes as long as a product. One thread, one result at a time.
"""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

LARGE_PAGE: Final = 2 << 20
"""Bytes of a large page on x86; smaller arrays use normal pages."""


class Workspace:
    """A growing array."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers = torch.empty(0, dtype=torch.bfloat16)

    def take(self, num_rows: int, width: int) -> Tensor:
        """Return an uninitialised bf16 array [num_rows, width], valid until the next call."""
        count = num_rows * width
        if count > len(self._numbers):
            self._numbers = self._numbers[:0].clone()  # frees the old array before the new one is allocated
            self._numbers = torch.empty(count, dtype=torch.bfloat16)
            _request_large_pages(self._numbers)
        return self._numbers[:count].view(num_rows, width)


@dataclass(frozen=True, slots=True)
class ForwardWorkspace:
    """Workspaces of a forward pass: its queries, keys and values, and the last normalised states."""

    queries: Workspace = field(default_factory=Workspace)
    keys: Workspace = field(default_factory=Workspace)
    values: Workspace = field(default_factory=Workspace)
    normed: Workspace = field(default_factory=Workspace)


def _request_large_pages(numbers: Tensor) -> None:
    """Request large pages; the system may refuse, which costs only time."""
    advice = getattr(mmap, "MADV_HUGEPAGE", None)  # Linux only
    start = -(-numbers.data_ptr() // LARGE_PAGE) * LARGE_PAGE
    num_bytes = numbers.data_ptr() + numbers.nbytes - start
    if advice is not None and num_bytes >= LARGE_PAGE:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(num_bytes), advice)
