"""Correct kernels pass the kernel check; a wrong one is found."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.support.interpreter import DEVICE, config_of

from shortlist.engine.native.cuda import launch, kernel_check  # isort: skip - after the check for Triton
from shortlist.engine.native.cuda.kernel_check import KernelMismatch, check_kernels, check_long_attention  # isort: skip

CONFIG = config_of()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_kernels_pass(dtype: torch.dtype) -> None:
    check_kernels(CONFIG, dtype, DEVICE)


def nothing(*given: object, **_: object) -> object:
    return given[0]


def not_numbers(x: Tensor, *_: object) -> Tensor:
    return torch.full_like(x, math.nan)


def slightly_off(gate_up: Tensor) -> Tensor:
    return gate_up.chunk(2, dim=1)[0] * 0.9


@pytest.mark.parametrize(
    ("name", "wrong", "what"),
    [
        ("rms_norm", not_numbers, "norm"),
        ("norm_and_rotate", nothing, "attention"),
        ("attend", nothing, "attention"),
        ("silu_mul", slightly_off, "SwiGLU"),
    ],
)
def test_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., object], what: str) -> None:
    monkeypatch.setattr(launch, name, wrong)
    with pytest.raises(KernelMismatch, match=what):
        check_kernels(CONFIG, torch.float32, DEVICE)


@pytest.mark.skipif(DEVICE.type == "cuda", reason="cuDNN computes in 16 bits only")
def test_long_attention_passes_and_both_are_timed() -> None:
    triton_s, cudnn_s = check_long_attention(CONFIG, torch.float32, DEVICE, num_tokens=40)
    assert min(triton_s, cudnn_s) > 0


def test_wrong_long_attention_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_check, "attend_long", lambda *_, **__: None)
    with pytest.raises(KernelMismatch, match="cuDNN"):
        check_long_attention(CONFIG, torch.float32, DEVICE, num_tokens=40)
