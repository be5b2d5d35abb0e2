"""Whether the Triton kernels can be used on a device. Importing this module needs no Triton."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from subprocess import SubprocessError

import torch

OLDEST = (8, 0)
"""Compute capability of Ampere, from which on Triton is supported."""

logger = logging.getLogger(__name__)


@cache
def can_launch(device: torch.device) -> bool:
    """Tell whether Triton is installed and its kernels run on this device; the log says why not."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    reason = _hindrance(device)
    if reason:
        logger.warning("The Triton kernels are not used: %s. Plain torch computes instead, several times more slowly.", reason)
    return not reason


def _hindrance(device: torch.device) -> str:
    if torch.cuda.get_device_capability(device) < OLDEST:
        return "this GPU is older than Ampere"
    if find_spec("triton") is None:
        return "Triton is not installed; it comes with torch's CUDA builds for Linux"
    if _is_interpreted():
        return "TRITON_INTERPRET is set, under which they are interpreted on the CPU"
    try:
        _try(device)
    except (RuntimeError, OSError, SubprocessError) as error:
        return f"a first one failed ({type(error).__name__}: {error}); Triton needs a C compiler (gcc) and Python's headers"
    return ""


def _is_interpreted() -> bool:
    from triton import knobs

    return bool(knobs.runtime.interpret)


def _try(device: torch.device) -> None:
    """Compile the smallest kernel, launch it and wait for it."""
    from shortlist.engine.native.cuda import launch

    with torch.cuda.device(device):
        one = torch.ones(1, 16, device=device)
        launch.rms_norm(one, one[0], 1e-6)
        torch.cuda.synchronize(device)
