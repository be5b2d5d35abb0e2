"""Settings become torch's own devices and dtypes, or a clear refusal."""

from __future__ import annotations

import subprocess
import sys

import pynvml
import pytest
import torch

from shortlist.engine.device import gpu_readings, pick_device, pick_devices, pick_dtype
from shortlist.errors import BadSetting
from shortlist.telemetry.gpu import GpuReading
from tests.support.fixtures import ModelFactory, make_model, tokenizer_path

__all__ = ["make_model", "tokenizer_path"]


def test_auto_is_native_bfloat16_or_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for features, dtype in [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx512_f": True}, torch.float32),
        ({}, torch.float32),
    ]:
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda features=features: features)
        assert pick_dtype("auto", cpu) is dtype


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), torch.float32)])
def test_auto_on_cuda_is_bfloat16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert pick_dtype("auto", torch.device("cuda:0")) is dtype


def test_float16_is_refused_on_a_cpu_only() -> None:
    with pytest.raises(BadSetting, match="float16"):
        pick_dtype("float16", torch.device("cpu"))
    assert pick_dtype("float16", torch.device("cuda:0")) is torch.float16


def test_int8_is_for_cpus() -> None:
    assert pick_dtype("int8", torch.device("cpu")) is torch.int8
    with pytest.raises(BadSetting, match="int8"):
        pick_dtype("int8", torch.device("cuda:0"))


@pytest.mark.parametrize(("capability", "is_able"), [((8, 0), False), ((8, 6), False), ((8, 9), True), ((9, 0), True)])
def test_fp8_is_for_gpus_that_have_it(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], is_able: bool) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    gpu = torch.device("cuda:0")
    if is_able:
        assert pick_dtype("fp8", gpu) is torch.float8_e4m3fn
    for device in (torch.device("cpu"), *([] if is_able else [gpu])):
        with pytest.raises(BadSetting, match="fp8"):
            pick_dtype("fp8", device)


@pytest.mark.parametrize("name", ["int4", "", "half", "torch.float32"])
def test_unknown_dtype_is_refused_with_the_choices(name: str) -> None:
    with pytest.raises(BadSetting, match="bfloat16"):
        pick_dtype(name, torch.device("cpu"))


@pytest.mark.parametrize("name", ["gpu", "", "meta", "cpu:x", "cuda:99"])
def test_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(BadSetting, match="device"):
        pick_device(name)


@pytest.mark.parametrize(
    ("names", "num_gpus", "expected"),
    [
        ("auto", 0, ["cpu"]),
        ("auto", 1, ["cuda:0"]),
        ("auto", 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", 3, ["cuda"]),
        ("cuda:2", 3, ["cuda:2"]),
        ("cuda:2, cuda:0", 3, ["cuda:2", "cuda:0"]),
        ("cpu,cpu", 3, ["cpu", "cpu"]),
    ],
)
def test_devices_are_those_that_are_named_and_auto_is_every_gpu(
    monkeypatch: pytest.MonkeyPatch, names: str, num_gpus: int, expected: list[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: num_gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: num_gpus)
    assert pick_devices(names) == expected


@pytest.mark.parametrize("names", ["cpu,", "cpu,gpu", "cuda:0,cuda:99"])
def test_one_device_that_is_not_here_refuses_all(names: str) -> None:
    with pytest.raises(BadSetting, match="device is"):
        pick_devices(names)


def test_auto_device_is_the_cpu_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    assert pick_device("cpu") == torch.device("cpu")


FIRST_CALLS = """
import sys
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.native_engine import NativeEngine
from shortlist.engine.native.portable_ops import Rope
from shortlist.types import RERANK

first = {}

class Watch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if args and isinstance(args[0], torch.Tensor):
            first.setdefault(function.overloadpacket.__name__, args[0].numel())
        return function(*args, **(kwargs or {}))

folder = Path(sys.argv[1])
with Watch():
    NativeEngine.load(folder, operation=RERANK, max_model_len=64, device="cpu").close()
    Rope.of(torch.arange(4096), Qwen3Config.read(folder))
print(first["cos"], first["sin"])
"""


def test_first_sine_of_a_process_is_of_one_number(make_model: ModelFactory) -> None:
    ran = subprocess.run([sys.executable, "-c", FIRST_CALLS, str(make_model())], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1", "1"]


# -- what devices say of themselves -------------------------------------------------------------------------------------


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two devices, of which the second does not answer."""

    def memory(name: str) -> tuple[int, int]:
        if name != "cuda:0":
            raise RuntimeError("CUDA error: the device is lost")
        return 30, 100

    monkeypatch.setattr("torch.cuda.mem_get_info", memory)
    monkeypatch.setattr("torch.cuda.utilization", lambda name: 25)


@pytest.mark.usefixtures("two_gpus")
def test_device_state_has_memory_and_utilization_and_a_lost_device_none() -> None:
    assert gpu_readings(["cuda:0", "cuda:1"]) == [GpuReading(device="cuda:0", used_bytes=70, total_bytes=100, busy=0.25)]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("error", [RuntimeError("no driver"), pynvml.NVMLError(3)])
def test_device_without_utilization_has_memory(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(name: str) -> int:
        raise error

    monkeypatch.setattr("torch.cuda.utilization", fails)
    assert [(each.used_bytes, each.busy) for each in gpu_readings(["cuda:0"])] == [(70, None)]


@pytest.mark.usefixtures("two_gpus")
def test_without_nvml_there_is_no_utilisation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert [each.busy for each in gpu_readings(["cuda:0"])] == [None]
