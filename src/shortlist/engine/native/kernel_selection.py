"""Selects the kernels for this machine, once, while a model is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from shortlist.engine.native.cpu.cpu_ops import CpuOps, can_compute
from shortlist.engine.native.cpu.int8_linears import Int8Linears, can_round
from shortlist.engine.native.cpu.library import Kernels, kernels
from shortlist.engine.native.cpu.tile_linears import TileLinears, can_multiply, tile_chunk_tokens
from shortlist.engine.native.cpu.workspace import ForwardWorkspace, Workspace
from shortlist.engine.native.cuda.support import can_launch, long_tokens
from shortlist.engine.native.linears import PackedLinears, PlainLinears, Prepare, bound_plans, chunk_tokens, round_sums_once
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.portable_ops import PortableOps
from shortlist.engine.native.qwen3 import BeginForward, ForwardOps, Qwen3, Qwen3Weights
from shortlist.engine.native.runner import Forward, PlainForward, Runner
from shortlist.errors import BadSetting

TRITON, TRITON_CUDNN = "triton", "triton-cudnn"
"""Names of the selections with Triton kernels: for all attention, and with cuDNN for attention over long documents."""


@dataclass(frozen=True, slots=True)
class KernelSelection:
    """The kernels of a model.

    Attributes:
        name: Identifies everything here that can change a number, for the fingerprint.
        dtype: Dtype of loaded matrices and of activations.
        prepare: Converts a layer's matrices to products.
        ops: Class of the operations between products.
        begin: Creates the operations; None if `forward` does.
        max_chunk_tokens: Tokens per matrix product; default: by the MLP's width.
        forward: Creates the forward pass of a model.
        max_concurrent_batches: Batches worth running at once: one if the thread that starts a batch also computes it.
    """

    name: str
    dtype: torch.dtype
    prepare: Prepare
    ops: type[ForwardOps]
    begin: BeginForward | None
    max_chunk_tokens: int | None = None
    forward: Callable[[Qwen3], Forward] = PlainForward
    max_concurrent_batches: int = 1

    def runner(self, config: Qwen3Config, weights: Qwen3Weights, *, max_model_len: int) -> Runner:
        """Return a runner for weights that were prepared for this selection."""
        model = Qwen3(config, weights, begin=self.begin, max_chunk_tokens=self.max_chunk_tokens)
        return Runner(model, max_model_len=max_model_len, forward=self.forward(model))


def select_kernels(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> KernelSelection:
    """Return the fastest kernels for a model in a dtype on a device.

    Args:
        config: The model's configuration.
        dtype: The compute dtype; int8 and float8_e4m3fn apply to matrix products only, the rest is bf16.
        device: The device.

    Raises:
        BadSetting: the device does not support int8 or fp8.
    """
    return _on_cpu(config, dtype) if device.type == "cpu" else _on_gpu(config, dtype, device)


def _on_gpu(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> KernelSelection:
    round_sums_once()
    if dtype == torch.int8:
        return _int8(config, None)
    if dtype == torch.float8_e4m3fn:
        return _fp8(config, device)
    return _triton(config, dtype, device) if can_launch(config, dtype, device) else _plain(config, dtype)


def _plain(config: Qwen3Config, dtype: torch.dtype) -> KernelSelection:
    return KernelSelection("plain", dtype, PlainLinears, PortableOps, partial(PortableOps, config, dtype))


def _on_cpu(config: Qwen3Config, dtype: torch.dtype) -> KernelSelection:
    cpu = kernels() if can_compute(config) else None
    if dtype == torch.int8:
        return _int8(config, cpu)
    if dtype != torch.bfloat16:
        return _plain(config, dtype)
    bound_plans()
    prepare: Prepare = PackedLinears if PackedLinears.is_possible() else PlainLinears
    name = "packed" if prepare is PackedLinears else "plain"
    if cpu is None:
        return KernelSelection(name, dtype, prepare, PortableOps, partial(PortableOps, config, dtype))
    if cpu.has_tiles and can_multiply(config):
        prepare = partial(TileLinears, cpu, Workspace())
        return KernelSelection(
            cpu.name, dtype, prepare, CpuOps, partial(CpuOps, config, cpu, ForwardWorkspace()), _chunk_tokens(config, cpu)
        )
    return KernelSelection(f"{name}-{cpu.name}", dtype, prepare, CpuOps, partial(CpuOps, config, cpu, ForwardWorkspace()))


def _triton(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> KernelSelection:
    from shortlist.engine.native.cuda.cuda_linears import CudaLinears
    from shortlist.engine.native.cuda.cuda_ops import CudaOps
    from shortlist.engine.native.cuda.forward import CudaForward
    from shortlist.engine.native.cuda.graphs import CudaGraphs

    long = long_tokens(config, dtype, device)
    return KernelSelection(
        *(TRITON if long is None else TRITON_CUDNN, dtype, CudaLinears, CudaOps, None),
        max_chunk_tokens=sys.maxsize,  # a sequence is one chunk
        forward=partial(CudaForward, device=CudaGraphs(device), long_tokens=long),
        max_concurrent_batches=3,  # one is computed, one is submitted to the device, one waits
    )


def _fp8(config: Qwen3Config, device: torch.device) -> KernelSelection:
    if not can_launch(config, torch.bfloat16, device):
        raise BadSetting("dtype is 'fp8', which needs the Triton kernels; the log says why they are off. Use --dtype auto.")
    from shortlist.engine.native.cuda.fp8_linears import Fp8Linears, can_quantize

    if not can_quantize(config):
        raise BadSetting("dtype is 'fp8', which needs every width in config.json to be a multiple of 16. Use --dtype auto.")
    return replace(_triton(config, torch.bfloat16, device), prepare=Fp8Linears)


def _int8(config: Qwen3Config, cpu: Kernels | None) -> KernelSelection:
    if cpu is None or not can_round(config):
        raise BadSetting(
            "dtype is 'int8', which needs the compiled kernels and an x86 CPU with AVX512-BF16 and VNNI; here they are not "
            "available. Use --dtype auto."
        )
    begin, prepare = partial(CpuOps, config, cpu, ForwardWorkspace()), partial(Int8Linears, cpu, Workspace())
    return KernelSelection(f"int8-{cpu.name}", torch.bfloat16, prepare, CpuOps, begin, _chunk_tokens(config, cpu))


def _chunk_tokens(config: Qwen3Config, cpu: Kernels) -> int:
    return (tile_chunk_tokens if cpu.has_tiles else chunk_tokens)(config.intermediate_size)
