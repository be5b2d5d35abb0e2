"""Memory for what is read once, by whoever asked for the product, and never again.

A new tensor for every product would be memory that no cache and no table of pages knows; writing to it takes as long as the product.
"""

from __future__ import annotations

import mmap

import torch
from torch import Tensor


class Scratch:
    """One array, which grows, on large pages where the system has them. For one thread, and one result at a time."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers = torch.empty(0, dtype=torch.bfloat16)

    def take(self, num_tokens: int, width: int) -> Tensor:
        """Return [num_tokens, width] bf16 of anything, valid until something is taken again."""
        count = num_tokens * width
        if count > len(self._numbers):
            pages = mmap.mmap(-1, count * torch.bfloat16.itemsize)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                pages.madvise(mmap.MADV_HUGEPAGE)
            self._numbers = torch.frombuffer(pages, dtype=torch.bfloat16)
        return self._numbers[:count].view(num_tokens, width)
