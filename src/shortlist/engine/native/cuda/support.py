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
"""Compute capability of Ampere, the oldest that Triton supports."""

HOPPER = (9, 0)
"""Compute capability from which cuDNN has attention kernels for the chip."""

logger = logging.getLogger(__name__)


@cache
def can_launch(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether Triton is installed and its kernels pass the check, for a model in a dtype on a device.

    The check runs once and takes seconds if Triton has to compile the kernels. A failure is logged with its reason.
    """
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    reason = _unsupported_reason(config, dtype, device)
    if reason:
        logger.warning("Triton kernels are off: %s. Plain torch replaces them, several times slower", reason)
    return not reason


@cache
def long_tokens(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> int | None:
    """Return the number of tokens above which cuDNN computes attention; None if it is wrong or not faster here.

    Both kernels are compared and timed once; the result is logged.
    """
    if dtype not in (torch.bfloat16, torch.float16) or not torch.cuda.is_available():
        return None
    if torch.cuda.get_device_capability(device) < HOPPER:
        return None
    try:
        triton_s, cudnn_s = _check_long_attention(config, dtype, device)
    except RuntimeError as error:
        logger.info("cuDNN attention over long documents is off: %s: %s", type(error).__name__, error)
        return None
    logger.info("attention over a long document: %.2f ms by Triton, %.2f ms by cuDNN", 1e3 * triton_s, 1e3 * cudnn_s)
    return LONG_TOKENS if cudnn_s < triton_s else None


def _unsupported_reason(config: Qwen3Config, dtype: torch.dtype, device: torch.device) -> str:
    if torch.cuda.get_device_capability(device) < OLDEST:
        return "this GPU is older than Ampere"
    if find_spec("triton") is None:
        return "Triton is not installed; it comes with torch's CUDA builds for Linux"
    if _is_interpreted():
        return "TRITON_INTERPRET is set, which interprets them on the CPU"
    from triton.errors import TritonError

    try:
        _check_kernels(config, dtype, device)
    except (TritonError, RuntimeError, OSError, SubprocessError) as error:
        return f"their check failed ({type(error).__name__}: {error}); Triton needs a C compiler (gcc) and Python's headers"
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
