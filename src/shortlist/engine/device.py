"""Maps the settings `device` and `dtype` to torch devices and dtypes, or raises why not."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Final

import torch

from shortlist.errors import BadSetting
from shortlist.telemetry.gpu import GpuReading

_DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
    "fp8": torch.float8_e4m3fn,
}


FP8_OLDEST: Final = (8, 9)
"""Compute capability of Ada, the first with 8-bit floating-point products."""

_CHOICES: Final = "it can be auto, cpu, cuda, cuda:N, or several with commas between them"


def pick_devices(names: str) -> list[str]:
    """Return the devices of a model, repeats included; "auto" is every CUDA device.

    Does not touch the devices.

    Raises:
        BadSetting: a device is unknown to torch, or not on this machine.
    """
    if names == "auto" and (count := torch.cuda.device_count()) > 1:
        return [f"cuda:{index}" for index in range(count)]
    return [str(pick_device(name.strip())) for name in names.split(",")]


def pick_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is the first CUDA device, or the CPU when there is none.

    Engines call this before they compute anything, so it also initialises the CPU's vector functions.

    Raises:
        BadSetting: the device is unknown to torch, or not on this machine.
    """
    _settle_functions()
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadSetting(f"device is {name!r}; {_CHOICES}.") from error
    if device.type not in {"cpu", "cuda"}:
        raise BadSetting(f"device is {name!r}; {_CHOICES}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadSetting(f"device is {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices here.")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype called `name`; "auto" is bfloat16 where the device computes in it natively, else float32.

    This is right for any model; for known models, `native.dynamic_range` may choose float16 instead.

    Raises:
        BadSetting: the dtype is not supported, or not on this device.
    """
    if name == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    if name not in _DTYPES:
        raise BadSetting(f"dtype is {name!r}; it can be auto, {', '.join(_DTYPES)}.")
    if name == "float16" and device.type == "cpu":
        raise BadSetting("dtype is 'float16', which CPUs emulate many times slower; use bfloat16 or float32.")
    if name == "int8" and device.type != "cpu":
        raise BadSetting("dtype is 'int8', which is for CPUs; use bfloat16 or float16 here.")
    if name == "fp8" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < FP8_OLDEST):
        raise BadSetting("dtype is 'fp8', which is for NVIDIA GPUs from Ada and Hopper on; use --dtype auto here.")
    return _DTYPES[name]


def gpu_name(name: str) -> str:
    """Return the name of a CUDA device."""
    return torch.cuda.get_device_name(name)


def gpu_readings(names: Iterable[str]) -> list[GpuReading]:
    """Return memory and utilization of these CUDA devices; devices that do not respond are left out."""
    readings = []
    for name in names:
        with suppress(RuntimeError):
            free_bytes, total_bytes = torch.cuda.mem_get_info(name)
            busy = _busy(name)
            used_bytes = total_bytes - free_bytes
            readings.append(GpuReading(device=name, used_bytes=used_bytes, total_bytes=total_bytes, busy=busy))
    return readings


def _busy(name: str) -> float | None:
    """Return the recent utilization of a device; None without NVIDIA's library."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        return float(torch.cuda.utilization(name)) / 100
    except (RuntimeError, pynvml.NVMLError):
        return None


@cache
def _settle_functions() -> None:
    """Let the CPU's vector library select its functions: calls each once, from one thread.

    It selects them at the first call. If several threads make it at once, one of them may get a version with four correct
    digits: the first scores of a process were once off by 3e-5, and were cached.

    Source: github.com/pytorch/pytorch/issues/188792.
    """
    for dtype in (torch.float32, torch.float64):
        one = torch.ones(1, dtype=dtype)
        for function in (torch.sin, torch.cos, torch.exp, torch.log, torch.tanh, torch.sqrt, torch.erf):
            function(one)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    able = torch.cpu.get_capabilities()
    return any(able.get(feature, False) for feature in ("avx512_bf16", "amx_bf16", "bf16"))
