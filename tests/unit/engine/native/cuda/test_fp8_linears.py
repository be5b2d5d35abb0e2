"""Products in fp8 equal those of the quantised numbers, are near the plain ones, and do not depend on other tokens."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from shortlist.engine.native import accuracy_check, native_engine
from shortlist.engine.native.kernel_selection import TRITON, KernelSelection
from shortlist.engine.native.linears import Matrices, PlainLinears
from shortlist.errors import BadSetting
from shortlist.types import RERANK
from tests.support.fixtures import ModelFactory
from tests.support.interpreter import DEVICE, config_of, device_here, model_of, runner_of, scores
from tests.support.native import prefix_of, prompt_of

from shortlist.engine.native.cuda import launch  # isort: skip - after the check for Triton
from shortlist.engine.native.cuda.fp8_linears import Fp8Linears, Quantized, can_quantize  # isort: skip
from shortlist.engine.native.cuda.forward import CudaForward  # isort: skip
from shortlist.engine.native.cuda.cuda_linears import CudaLinears  # isort: skip
from shortlist.engine.native.cuda.cuda_ops import CudaOps  # isort: skip

SIZES = {"q": (96, 64), "k": (32, 64), "v": (32, 64), "o": (64, 96), "gate": (160, 64), "up": (160, 64), "down": (64, 160)}
NEAR = 0.06
"""Relative error of a product, root mean square: a unit is 1/16, and rounding errs by less than a third of that on either side."""

pytestmark = pytest.mark.skipif(
    DEVICE.type == "cuda" and torch.cuda.get_device_capability(DEVICE) < (8, 9), reason="this GPU has no 8-bit floating point"
)


def draw(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(DEVICE, torch.bfloat16)


def matrices() -> Matrices:
    return Matrices(**{name: draw(*size, seed=seed) * 0.1 for seed, (name, size) in enumerate(SIZES.items())})


def relative_error(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def test_product_is_that_of_the_rounded_numbers() -> None:
    x, matrix = draw(9, 64), draw(96, 64, seed=1)
    quantized = Quantized.of(matrix)
    rounded, scale = launch.quantize(x)
    exact = (rounded.float() * scale) @ (quantized.matrix.float() * quantized.scale.T).T
    torch.testing.assert_close(quantized.times(x).float(), exact, rtol=2**-8, atol=1e-3)


def test_every_output_has_its_own_scale() -> None:
    matrix = draw(32, 64)
    matrix[3] *= 1000
    matrix[4] *= 1e-5
    matrix[5] = 0
    quantized = Quantized.of(matrix)
    back = quantized.matrix.float() * quantized.scale.T
    assert all(relative_error(back[row], matrix[row].float()) < NEAR for row in range(32) if row != 5)
    assert not back[5].any()


@pytest.mark.parametrize("mlp_tokens", [4096, 4])
def test_products_are_near_the_plain_ones(mlp_tokens: int) -> None:
    given = matrices()
    ours = Fp8Linears(given, mlp_tokens=mlp_tokens)
    exact = PlainLinears(Matrices(**{name: getattr(given, name).float() for name in SIZES}))
    x, attended = draw(9, 64), draw(9, 96, seed=1)
    nothing = torch.zeros_like(x)
    for found, expected in [
        (ours.queries(x), exact.queries(x.float())),
        *zip(ours.keys(x), exact.keys(x.float()), strict=True),
        (ours.add_attended(attended, nothing.clone()), exact.add_attended(attended.float(), nothing.float())),
        (ours.add_mlp(x, nothing.clone()), exact.add_mlp(x.float(), nothing.float())),
    ]:
        assert found.dtype == torch.bfloat16
        assert relative_error(found, expected) < 2 * NEAR


def test_states_are_added_to() -> None:
    ours, x = Fp8Linears(matrices()), draw(9, 64)
    added = ours.add_mlp(x, torch.zeros_like(x)).clone()
    torch.testing.assert_close(ours.add_mlp(x, x.clone()), x + added)


@pytest.mark.full
def test_model_in_8_bits_scores_a_prompt_alone_as_among_others(make_model: ModelFactory) -> None:
    folder = make_model(shape="tiny")
    full, model = (model_of(folder, dtype=torch.bfloat16, prepare=prepare) for prepare in (CudaLinears, Fp8Linears))
    prompts = [prompt_of(prefix_of(3), length) for length in (4, 7)]
    runner, graphed = runner_of(model), runner_of(model, bucket_tokens=(16,))
    together = scores(runner, prompts)
    assert together == pytest.approx(scores(runner_of(full), prompts), abs=0.5)
    assert [scores(runner, [each])[0] for each in prompts] == pytest.approx(together, abs=0.25)
    assert [scores(graphed, prompts) for _ in range(3)][-1] == pytest.approx(together, abs=0.25)


@pytest.mark.full
async def test_engine_in_8_bits_is_checked_before_it_serves(make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A double stands in for the GPU: the engine's dtype and kernels are patched."""
    forward = partial(CudaForward, device=device_here(), bucket_tokens=())
    selection = KernelSelection(
        TRITON, torch.bfloat16, Fp8Linears, CudaOps, None, max_chunk_tokens=sys.maxsize, forward=forward
    )
    monkeypatch.setattr(native_engine, "pick_dtype", lambda *_: torch.float8_e4m3fn)
    monkeypatch.setattr(native_engine, "select_kernels", lambda *_: selection)
    prompts = [prompt_of(prefix_of(3), length) for length in (4, 7)]
    load = partial(
        native_engine.NativeEngine.load,
        make_model(shape="tiny"),
        operation=RERANK,
        max_model_len=100,
        device=DEVICE.type,
        dtype="fp8",
        digest="d",
    )
    with pytest.raises(BadSetting, match="cannot be checked"):
        load(samples=tuple)
    monkeypatch.setitem(accuracy_check.BOUNDS, RERANK, 1e-9)
    with pytest.raises(BadSetting, match="1e-09 is allowed"):
        load(samples=lambda: prompts)
    monkeypatch.setitem(accuracy_check.BOUNDS, RERANK, 1.0)
    served = load(samples=lambda: prompts)
    assert (served.info.dtype, "float8_e4m3fn-d" in served.info.fingerprint) == ("float8_e4m3fn", True)
    assert len(await served.compute(RERANK, prompts)) == 2
    served.close()


def test_supported_shapes() -> None:
    config = config_of()
    assert can_quantize(config)
    assert not can_quantize(replace(config, intermediate_size=136))
    assert not can_quantize(replace(config, hidden_size=72))
