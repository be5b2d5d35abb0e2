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
"""Bytes of a large page on x86; smaller arrays have none."""


class Workspace:
    """An array that grows."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers = torch.empty(0, dtype=torch.bfloat16)

    def take(self, num_rows: int, width: int) -> Tensor:
        """Return [num_rows, width] bf16 of anything, valid until something is taken again."""
        count = num_rows * width
        if count > len(self._numbers):
            self._numbers = self._numbers[:0].clone()  # let go of before there is another
            self._numbers = torch.empty(count, dtype=torch.bfloat16)
            _ask_for_large_pages(self._numbers)
        return self._numbers[:count].view(num_rows, width)


@dataclass(frozen=True, slots=True)
class ForwardWorkspace:
    """What a step keeps: all its queries, keys and values, and the states that were normalised last."""

    queries: Workspace = field(default_factory=Workspace)
    keys: Workspace = field(default_factory=Workspace)
    values: Workspace = field(default_factory=Workspace)
    normed: Workspace = field(default_factory=Workspace)


def _ask_for_large_pages(numbers: Tensor) -> None:
    """Ask the system for them; it may say no, and nothing but time is lost."""
    advice = getattr(mmap, "MADV_HUGEPAGE", None)  # Linux alone has it
    begin = -(-numbers.data_ptr() // LARGE_PAGE) * LARGE_PAGE
    num_bytes = numbers.data_ptr() + numbers.nbytes - begin
    if advice is not None and num_bytes >= LARGE_PAGE:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(num_bytes), advice)
