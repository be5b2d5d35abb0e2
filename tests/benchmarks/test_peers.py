"""Tests the arguments of peers: the device and the length in the engine's own flags; CPU-only peers refuse a GPU."""

from __future__ import annotations

from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.peers.protocol import arguments, gpu_arguments
from benchmarks.peers.vllm.contender import TUNED, command, process_environment


def options(**changed: object) -> Namespace:
    defaults = {"model": Path("m"), "device": "cpu", "threads": 1, "max_model_len": 8192, "tuned": False}
    return Namespace(**{**defaults, "gpu_memory_utilization": 0.25, **changed})


def test_gpu_peers_take_a_device_and_a_length() -> None:
    parsed = gpu_arguments(None).parse_args(["m", "--threads", "2", "--device", "cuda:1", "--max-model-len", "32768"])
    assert (parsed.threads, parsed.device, parsed.max_model_len) == (2, "cuda:1", 32_768)
    assert (gpu_arguments(None).parse_args(["m"]).device, gpu_arguments(None).parse_args(["m"]).max_model_len) == ("cpu", 8192)


def test_cpu_only_peers_refuse_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(None).parse_args(["m", "--device", "cuda"])
    assert "--device cuda" in capsys.readouterr().err


@pytest.mark.parametrize(("device", "kind"), [("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda")])
def test_vllm_gets_length_and_gpu_memory_share(device: str, kind: str) -> None:
    flags = dict(pairwise(command(options(device=device, max_model_len=32_768), port=1)))
    assert flags["--max-model-len"] == "32768"
    assert flags.get("--gpu-memory-utilization") == (None if kind == "cpu" else "0.25")
    assert command(options(device=device, tuned=True), port=1)[-len(TUNED[kind]) :] == TUNED[kind]


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [("cuda", None, None), ("cuda:2", None, "2"), ("cuda:1", "4,7", "7"), ("cuda", "4,7", None)],
)
def test_vllm_sees_only_the_selected_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, expected: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = process_environment(options(device=device))
    assert found.get("CUDA_VISIBLE_DEVICES") == expected
    assert "VLLM_TARGET_DEVICE" not in found
    assert process_environment(options())["VLLM_TARGET_DEVICE"] == "cpu"
