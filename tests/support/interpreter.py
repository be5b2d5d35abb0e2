"""Where Triton's kernels run in tests: in its interpreter, of which two faults are mended here, or on a GPU."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from triton import knobs
from triton import language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

DEVICE: Final = torch.device("cpu" if knobs.runtime.interpret else "cuda")

_cast, _dot = InterpreterBuilder.cast_impl, InterpreterBuilder.create_dot


def _rounded_cast(self: Any, source: Any, wanted: Any) -> Any:
    """Round to nearest where the interpreter cuts off, as no GPU does."""
    if (source.dtype.scalar, wanted.scalar) == (tl.float32, tl.bfloat16):
        rounded = torch.from_numpy(np.ascontiguousarray(source.data)).bfloat16()
        return TensorHandle(rounded.view(torch.uint16).numpy(), tl.bfloat16)
    return _cast(self, source, wanted)


def _widened_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
    """Multiply numbers of bfloat16, where the interpreter multiplies the bits that stand for them."""
    return _dot(self, *(_cast(self, each, tl.float32) if each.dtype.scalar == tl.bfloat16 else each for each in (a, b)), *rest)


InterpreterBuilder.cast_impl, InterpreterBuilder.create_dot = _rounded_cast, _widened_dot
