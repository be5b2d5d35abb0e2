"""Where Triton's kernels run in tests: in its interpreter, of which three faults are mended here, or on a GPU; and models there.

To be imported before the kernels, since it is here that a machine without Triton is noticed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from triton import knobs
from triton import language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from shortlist.engine.native.cuda.cuda_linears import CudaLinears
from shortlist.engine.native.cuda.forward import CudaForward
from shortlist.engine.native.cuda.graphs import CudaGraphs, EagerHost, GraphDevice
from shortlist.engine.native.linears import Prepare
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.runner import Runner
from shortlist.engine.native.weights import load_weights
from shortlist.types import RERANK, Operation, TokenPrompt
from tests.support.native import batch_of, run_batch

DEVICE: Final = torch.device("cpu" if knobs.runtime.interpret else "cuda")

_cast, _dot = InterpreterBuilder.cast_impl, InterpreterBuilder.create_dot
_fp_to_fp = InterpreterBuilder.create_fp_to_fp


def _rounded_cast(self: Any, source: Any, wanted: Any) -> Any:
    """Round to nearest where the interpreter cuts off, as no GPU does."""
    if (source.dtype.scalar, wanted.scalar) == (tl.float32, tl.bfloat16):
        rounded = torch.from_numpy(np.ascontiguousarray(source.data)).bfloat16()
        return TensorHandle(rounded.view(torch.uint16).numpy(), tl.bfloat16)
    return _cast(self, source, wanted)


def _carrying_cast(self: Any, source: Any, wanted: Any, rounding: Any) -> Any:
    """Round to 8 bits where the interpreter forgets to carry: 126 becomes 64 there, and 128 on a GPU."""
    if (source.dtype.scalar, wanted.scalar) == (tl.float32, tl.float8e4nv):
        most = torch.finfo(torch.float8_e4m3fn).max  # GPUs go no further
        rounded = torch.from_numpy(np.ascontiguousarray(source.data)).clamp(-most, most).to(torch.float8_e4m3fn)
        return TensorHandle(rounded.view(torch.uint8).numpy(), tl.float8e4nv)
    return _fp_to_fp(self, source, wanted, rounding)


def _widened_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
    """Multiply numbers of bfloat16, where the interpreter multiplies the bits that stand for them."""
    return _dot(self, *(_cast(self, each, tl.float32) if each.dtype.scalar == tl.bfloat16 else each for each in (a, b)), *rest)


InterpreterBuilder.cast_impl, InterpreterBuilder.create_dot = _rounded_cast, _widened_dot
InterpreterBuilder.create_fp_to_fp = _carrying_cast


def config_of(*, num_heads: int = 6, num_kv_heads: int = 2, head_dim: int = 32) -> Qwen3Config:
    """The shape of a model with one layer."""
    return Qwen3Config(
        vocab_size=10,
        hidden_size=64,
        intermediate_size=128,
        num_layers=1,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        max_positions=40_960,
        norm_eps=1e-6,
        rope_theta=1e6,
        is_tied=True,
        is_classifier=False,
    )


def device_here() -> GraphDevice:
    return EagerHost() if knobs.runtime.interpret else CudaGraphs(DEVICE)


def model_of(
    folder: Path,
    *,
    task: Operation = RERANK,
    dtype: torch.dtype = torch.float32,
    is_pruned: bool = True,
    prepare: Prepare = CudaLinears,
) -> Qwen3:
    """A model in the forms for NVIDIA GPUs."""
    config = Qwen3Config.read(folder)
    weights = load_weights(folder, config, operation=task, dtype=dtype, device=DEVICE, prepare=prepare)
    return Qwen3(config, weights, max_chunk_tokens=sys.maxsize, is_pruned=is_pruned)


def runner_of(model: Qwen3, *, device: GraphDevice | None = None, bucket_tokens: Sequence[int] = ()) -> Runner:
    """Without graphs unless there are buckets."""
    forward = CudaForward(model, device or device_here(), bucket_tokens=bucket_tokens)
    return Runner(model, max_model_len=model.config.max_positions, forward=forward)


def scores(runner: Runner, prompts: Sequence[TokenPrompt]) -> list[float]:
    found = run_batch(runner, batch_of(prompts))
    assert all(isinstance(score, float) for score in found)
    return [score for score in found if isinstance(score, float)]
