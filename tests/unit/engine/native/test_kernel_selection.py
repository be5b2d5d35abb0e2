"""Kernels are selected by CPU, device and dtype; all give the same scores but for rounding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shortlist.engine.native import kernel_selection as module
from shortlist.engine.native.cpu.cpu_ops import CpuOps
from shortlist.engine.native.cpu.library import kernels
from shortlist.engine.native.cpu.tile_linears import TileLinears
from shortlist.engine.native.kernel_selection import select_kernels
from shortlist.engine.native.linears import Matrices, PackedLinears, PlainLinears
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.portable_ops import PortableOps
from shortlist.engine.native.qwen3 import Qwen3
from shortlist.engine.native.weights import load_weights
from shortlist.errors import BadSetting
from shortlist.types import RERANK
from tests.support.fixtures import ModelFactory
from tests.support.native import model_of, prefix_of, prompt_of, scores

CPU = torch.device("cpu")
needs_kernels = pytest.mark.skipif(kernels() is None, reason="no compiled kernels for this processor")


@pytest.fixture
def config(make_model: ModelFactory) -> Qwen3Config:
    return Qwen3Config.read(make_model())


@pytest.fixture
def _without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "kernels", lambda: None)


@needs_kernels
@pytest.mark.parametrize("has_tiles", [False, True])
def test_bf16_uses_packed_and_compiled_kernels(config: Qwen3Config, monkeypatch: pytest.MonkeyPatch, has_tiles: bool) -> None:
    native = kernels()
    assert native is not None
    if has_tiles and not native.has_tiles:
        pytest.skip("this processor has no matrix unit")
    monkeypatch.setattr(module, "kernels", lambda: native if has_tiles else native.without_tiles())
    found = select_kernels(config, torch.bfloat16, CPU)
    assert (found.ops, found.dtype) == (CpuOps, torch.bfloat16)
    assert (found.prepare is PackedLinears) is not has_tiles
    assert (getattr(found.prepare, "func", None) is TileLinears) is has_tiles


@needs_kernels
def test_shape_that_tiles_do_not_divide_is_packed(config: Qwen3Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "can_multiply", lambda _: False)
    assert select_kernels(config, torch.bfloat16, CPU).prepare is PackedLinears


@pytest.mark.parametrize(
    ("dtype", "device"),
    [(torch.float32, "cpu"), (torch.bfloat16, "cuda:0"), (torch.float16, "cuda:0"), (torch.float32, "cuda:0")],
)
def test_other_dtypes_and_devices_use_plain_torch(
    config: Qwen3Config, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, device: str
) -> None:
    monkeypatch.setattr(module, "can_launch", lambda *_: False)
    found = select_kernels(config, dtype, torch.device(device))
    assert (found.prepare, found.ops, found.dtype) == (PlainLinears, PortableOps, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gpu_with_triton_uses_the_triton_kernels(
    config: Qwen3Config, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    cuda = pytest.importorskip("shortlist.engine.native.cuda.cuda_ops", reason="Triton is not installed", exc_type=ImportError)
    monkeypatch.setattr(module, "can_launch", lambda *_: True)
    found = select_kernels(config, dtype, torch.device("cuda:0"))
    assert (found.name, found.ops, found.dtype) == ("triton", cuda.CudaOps, dtype)
    assert found.max_concurrent_batches == 3
    monkeypatch.setattr(module, "long_tokens", lambda *_: 4096)
    longer = select_kernels(config, dtype, torch.device("cuda:0"))
    assert (longer.name, longer.ops) == ("triton-cudnn", cuda.CudaOps)


def test_gpu_runner_uses_the_cuda_forward_pass(make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = pytest.importorskip("tests.support.interpreter", reason="Triton is not installed")
    monkeypatch.setattr(module, "can_launch", lambda *_: True)
    folder = make_model()
    config = Qwen3Config.read(folder)
    selection = select_kernels(config, torch.float32, torch.device("cuda:0"))
    model = interpreter.model_of(folder)
    runner = selection.runner(config, model.weights, max_model_len=100)
    assert type(runner._forward).__name__ == "CudaForward"
    assert runner._model._chunk_tokens > config.max_positions


@pytest.mark.usefixtures("_without_kernels")
def test_bf16_without_kernels_is_portable(config: Qwen3Config) -> None:
    assert select_kernels(config, torch.bfloat16, CPU).ops is PortableOps


@pytest.mark.usefixtures("_without_kernels")
def test_int8_without_kernels_is_refused_with_advice(config: Qwen3Config) -> None:
    with pytest.raises(BadSetting, match="--dtype auto"):
        select_kernels(config, torch.int8, CPU)


@needs_kernels
def test_int8_of_an_unsupported_shape_is_refused(make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "can_round", lambda _: False)
    with pytest.raises(BadSetting, match="int8"):
        select_kernels(Qwen3Config.read(make_model()), torch.int8, CPU)


@needs_kernels
def test_names_differ_where_results_differ(config: Qwen3Config, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {select_kernels(config, dtype, CPU).name for dtype in (torch.bfloat16, torch.int8, torch.float32)}
    monkeypatch.setattr(module, "kernels", lambda: None)
    names.add(select_kernels(config, torch.bfloat16, CPU).name)
    assert len(names) == 4


@pytest.mark.parametrize("is_portable", [True, False])
@pytest.mark.parametrize("is_packed", [True, False])
def test_all_bf16_kernels_give_the_same_scores_but_for_rounding(
    make_model: ModelFactory, is_portable: bool, is_packed: bool
) -> None:
    folder = make_model(dtype="bfloat16")
    config, prefix = Qwen3Config.read(folder), prefix_of(70)
    prompts = [prompt_of(prefix, length, length) for length in (1, 63, 64, 200)]
    exact = scores(model_of(folder, dtype=torch.float32), prompts)
    prepare = PackedLinears if is_packed else PlainLinears
    weights = load_weights(folder, config, operation=RERANK, dtype=torch.bfloat16, device=CPU, prepare=prepare)
    begin = None if is_portable else select_kernels(config, torch.bfloat16, CPU).begin
    assert scores(Qwen3(config, weights, begin=begin), prompts) == pytest.approx(exact, abs=0.15)


def test_packed_products_equal_plain_ones() -> None:
    draw = torch.Generator().manual_seed(0)
    sizes = {"q": (96, 64), "k": (32, 64), "v": (32, 64), "o": (64, 96), "gate": (160, 64), "up": (160, 64), "down": (64, 160)}
    given = Matrices(**{name: (torch.randn(size, generator=draw) * 0.1).bfloat16() for name, size in sizes.items()})
    x, attended = (torch.randn(40, width, generator=draw).bfloat16() for width in (64, 96))
    plain, packed = PlainLinears(given), PackedLinears(given)
    for one, other in [
        (packed.queries(x), plain.queries(x)),
        *zip(packed.keys(x), plain.keys(x), strict=True),
        (packed.add_attended(attended, x), plain.add_attended(attended, x)),
        (packed.add_mlp(x, x), plain.add_mlp(x, x)),
    ]:
        torch.testing.assert_close(one, other, atol=0.03, rtol=0.03)


def test_fp8_is_triton_with_products_in_8_bits(config: Qwen3Config, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    from shortlist.engine.native.cuda.fp8_linears import Fp8Linears

    gpu, fp8 = torch.device("cuda"), torch.float8_e4m3fn
    with pytest.raises(BadSetting, match="Triton"):
        select_kernels(config, fp8, gpu)
    monkeypatch.setattr(module, "can_launch", lambda *_: True)
    found = select_kernels(config, fp8, gpu)
    assert (found.name, found.dtype, found.prepare) == (module.TRITON, torch.bfloat16, Fp8Linears)
    with pytest.raises(BadSetting, match="multiple of 16"):
        select_kernels(replace(config, intermediate_size=100), fp8, gpu)
