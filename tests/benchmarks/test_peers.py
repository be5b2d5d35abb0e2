"""Peers are told the device and the length in their own words; those that compute on CPUs alone do not take a GPU for one."""

from __future__ import annotations

from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.peers.protocol import arguments, gpu_arguments
from benchmarks.peers.vllm.contender import TUNED, command, process_environment


def options(**changed: object) -> Namespace:
    usual = {"model": Path("m"), "device": "cpu", "threads": 1, "max_model_len": 8192, "tuned": False}
    return Namespace(**{**usual, "gpu_memory_utilization": 0.25, **changed})


def test_those_that_can_be_on_a_gpu_take_a_device_and_a_length() -> None:
    given = gpu_arguments(None).parse_args(["m", "--threads", "2", "--device", "cuda:1", "--max-model-len", "32768"])
    assert (given.threads, given.device, given.max_model_len) == (2, "cuda:1", 32_768)
    assert (gpu_arguments(None).parse_args(["m"]).device, gpu_arguments(None).parse_args(["m"]).max_model_len) == ("cpu", 8192)


def test_the_others_refuse_to_be_sent_to_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(None).parse_args(["m", "--device", "cuda"])
    assert "--device cuda" in capsys.readouterr().err


@pytest.mark.parametrize(("device", "kind"), [("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda")])
def test_vllm_gets_the_length_and_on_a_gpu_the_memory_share(device: str, kind: str) -> None:
    told = dict(pairwise(command(options(device=device, max_model_len=32_768), port=1)))
    assert told["--max-model-len"] == "32768"
    assert told.get("--gpu-memory-utilization") == (None if kind == "cpu" else "0.25")
    assert command(options(device=device, tuned=True), port=1)[-len(TUNED[kind]) :] == TUNED[kind]


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [("cuda", None, None), ("cuda:2", None, "2"), ("cuda:1", "4,7", "7"), ("cuda", "4,7", None)],
)
def test_vllm_sees_the_gpu_that_is_meant(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, expected: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = process_environment(options(device=device))
    assert found.get("CUDA_VISIBLE_DEVICES") == expected
    assert "VLLM_TARGET_DEVICE" not in found
    assert process_environment(options())["VLLM_TARGET_DEVICE"] == "cpu"
