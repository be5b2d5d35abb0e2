"""Decides whether the Triton kernels support a model on a device. Imports without Triton."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from subprocess import SubprocessError

import torch

from shortlist.engine.native.cuda.long_attention import LONG_TOKENS
from shortlist.engine.native.model_config import Qwen3Config

OLDEST = (8, 0)
"""Compute capability of Ampere, from which on Triton is supported."""

HOPPER = (9, 0)
"""From here on cuDNN has attention that is made for the chip."""

logger = logging.getLogger(__name__)


@cache
def can_launch(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether Triton is installed and its kernels are right, for this model in this dtype on this device.

    They are tried once, which takes seconds where Triton has not compiled them before. The log says why they are not used.
    """
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    reason = _unsupported_reason(config, dtype, device)
    if reason:
        logger.warning("The Triton kernels are not used: %s. Plain torch computes instead, several times more slowly.", reason)
    return not reason


@cache
def long_tokens(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> int | None:
    """Return from how many tokens on cuDNN attends, because it is right and faster here; None if it never does.

    It is tried once, beside our kernel; the log says what came of it.
    """
    if dtype not in (torch.bfloat16, torch.float16) or not torch.cuda.is_available():
        return None
    if torch.cuda.get_device_capability(device) < HOPPER:
        return None
    try:
        ours_s, theirs_s = _check_long_attention(config, dtype, device)
    except RuntimeError as error:
        logger.info("cuDNN's attention over long documents is not used: %s: %s", type(error).__name__, error)
        return None
    logger.info("Attention over a long document took %.2f ms, and %.2f ms by cuDNN.", 1e3 * ours_s, 1e3 * theirs_s)
    return LONG_TOKENS if theirs_s < ours_s else None


def _unsupported_reason(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> str:
    if torch.cuda.get_device_capability(device) < OLDEST:
        return "this GPU is older than Ampere"
    if find_spec("triton") is None:
        return "Triton is not installed; it comes with torch's CUDA builds for Linux"
    if _is_interpreted():
        return "TRITON_INTERPRET is set, under which they are interpreted on the CPU"
    from triton.errors import TritonError

    try:
        _check_kernels(config, dtype, device)
    except (TritonError, RuntimeError, OSError, SubprocessError) as error:
        return f"a trial failed ({type(error).__name__}: {error}); Triton needs a C compiler (gcc) and Python's headers"
    return ""


def _is_interpreted() -> bool:
    from triton import knobs

    return bool(knobs.runtime.interpret)


def _check_kernels(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> None:
    from shortlist.engine.native.cuda.kernel_check import check_kernels

    with torch.cuda.device(device), torch.inference_mode():
        check_kernels(config, dtype, device)


def _check_long_attention(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> tuple[float, float]:
    from shortlist.engine.native.cuda.kernel_check import check_long_attention

    with torch.cuda.device(device), torch.inference_mode():
        return check_long_attention(config, dtype, device)
