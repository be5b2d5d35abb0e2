"""Which form of the engine's parts this machine computes with: chosen once, while a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from shortlist.engine.native.config import Qwen3Config
from shortlist.engine.native.cpu.int8 import Int8Linears, can_round
from shortlist.engine.native.cpu.kernels import Kernels, kernels
from shortlist.engine.native.cpu.step import CpuStep, can_compute
from shortlist.engine.native.cpu.tiles import TileLinears, can_multiply
from shortlist.engine.native.linears import PackedLinears, PlainLinears, Prepare, bound_plans
from shortlist.engine.native.portable import PortableStep
from shortlist.engine.native.qwen3 import Begin, Step
from shortlist.errors import BadSetting


@dataclass(frozen=True, slots=True)
class Forms:
    """How a model is computed.

    Attributes:
        name: Of everything here that can change a number, for the fingerprint.
        dtype: What matrices are read in, and activations kept in.
        prepare: What a layer's matrices are made into.
        step: What computes the rest.
        begin: How one begins.
    """

    name: str
    dtype: torch.dtype
    prepare: Prepare
    step: type[Step]
    begin: Begin


def pick_forms(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> Forms:
    """Return the fastest forms for a model in a dtype on a device.

    Args:
        config: The model's shape.
        dtype: What to compute in; int8 means the matrix products alone, the rest being bf16.
        device: Where.

    Raises:
        BadSetting: int8 cannot be had here.
    """
    found = kernels() if device.type == "cpu" and can_compute(config) else None
    if dtype == torch.int8:
        return _int8(config, found)
    if device.type != "cpu" or dtype != torch.bfloat16:
        return Forms("plain", dtype, PlainLinears, PortableStep, partial(PortableStep, config, dtype))
    bound_plans()
    prepare: Prepare = PackedLinears if PackedLinears.is_possible() else PlainLinears
    name = "packed" if prepare is PackedLinears else "plain"
    if found is None:
        return Forms(name, dtype, prepare, PortableStep, partial(PortableStep, config, dtype))
    if found.has_tiles and can_multiply(config):
        return Forms(found.name, dtype, partial(TileLinears, found), CpuStep, partial(CpuStep, config, found))
    return Forms(f"{name}-{found.name}", dtype, prepare, CpuStep, partial(CpuStep, config, found))


def _int8(config: Qwen3Config, found: Kernels | None) -> Forms:
    if found is None or not can_round(config):
        raise BadSetting(
            "dtype is 'int8', which is computed by compiled kernels on x86 CPUs with AVX512-BF16 and VNNI; here there are "
            "none. Use --dtype auto."
        )
    return Forms(f"int8-{found.name}", torch.bfloat16, partial(Int8Linears, found), CpuStep, partial(CpuStep, config, found))
