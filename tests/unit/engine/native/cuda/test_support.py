"""The kernels are used where they work; otherwise the reason is logged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from shortlist.engine.native.cuda import support
from shortlist.engine.native.cuda.long_attention import LONG_TOKENS
from shortlist.engine.native.cuda.support import can_launch, long_tokens
from tests.support.interpreter import config_of

from triton.errors import TritonError  # isort: skip - after the check for Triton

GPU = torch.device("cuda:0")
CONFIG = config_of(num_heads=4, num_kv_heads=2, head_dim=16)


@pytest.fixture(autouse=True)
def _gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that meets all requirements."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(support, "_is_interpreted", lambda: False)
    monkeypatch.setattr(support, "_check_kernels", lambda *_: None)
    for cached in (can_launch, long_tokens):
        cached.cache_clear()
    yield
    for cached in (can_launch, long_tokens):
        cached.cache_clear()


def test_gpu_with_triton_is_used_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert can_launch(CONFIG, torch.bfloat16, GPU)
    assert not caplog.text


def test_other_devices_are_not_checked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert not can_launch(CONFIG, torch.bfloat16, torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not can_launch(CONFIG, torch.bfloat16, GPU)
    assert not caplog.text


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        ("torch.cuda.get_device_capability", (7, 5), "older than Ampere"),
        ("shortlist.engine.native.cuda.support.find_spec", None, "Triton is not installed"),
        ("shortlist.engine.native.cuda.support._is_interpreted", True, "TRITON_INTERPRET is set"),
    ],
)
def test_missing_requirement_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, answer: object, reason: str
) -> None:
    monkeypatch.setattr(name, lambda *_: answer)
    assert not can_launch(CONFIG, torch.bfloat16, GPU)
    assert reason in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("no C compiler"), FileNotFoundError("ptxas"), TritonError("PTX")])
def test_kernel_that_cannot_be_built_here_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(support, "_check_kernels", fail)
    assert not can_launch(CONFIG, torch.bfloat16, GPU)
    assert str(error) in caplog.text
    assert "gcc" in caplog.text


def test_kernels_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[object, ...]] = []
    monkeypatch.setattr(support, "_check_kernels", lambda *given: checked.append(given))
    assert can_launch(CONFIG, torch.bfloat16, GPU)
    assert can_launch(CONFIG, torch.bfloat16, GPU)
    assert checked == [(CONFIG, torch.bfloat16, GPU)]


def test_every_model_and_dtype_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[object, ...]] = []
    monkeypatch.setattr(support, "_check_kernels", lambda *given: checked.append(given))
    others = [(replace(CONFIG, head_dim=64), torch.bfloat16), (CONFIG, torch.float16)]
    assert all(can_launch(config, dtype, GPU) for config, dtype in others)
    assert [given[:2] for given in checked] == others


@pytest.fixture
def _hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))


@pytest.mark.usefixtures("_hopper")
@pytest.mark.parametrize(("spent_s", "expected"), [((2.0, 1.0), LONG_TOKENS), ((1.0, 2.0), None)])
def test_long_documents_use_cudnn_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, spent_s: tuple[float, float], expected: int | None
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(support, "_check_long_attention", lambda *_: spent_s)
    assert long_tokens(CONFIG, torch.bfloat16, GPU) == expected
    assert f"{1e3 * spent_s[0]:.2f} ms by Triton, {1e3 * spent_s[1]:.2f} ms by cuDNN" in caplog.text


@pytest.mark.usefixtures("_hopper")
def test_cudnn_that_fails_is_not_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("No available kernel.")

    caplog.set_level("INFO")
    monkeypatch.setattr(support, "_check_long_attention", fail)
    assert long_tokens(CONFIG, torch.bfloat16, GPU) is None
    assert "No available kernel." in caplog.text


@pytest.mark.parametrize(("capability", "dtype"), [((8, 9), torch.bfloat16), ((9, 0), torch.float32)])
def test_cudnn_is_not_checked_where_it_is_not_faster(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(support, "_check_long_attention", lambda *_: pytest.fail("It was checked."))
    assert long_tokens(CONFIG, dtype, GPU) is None
