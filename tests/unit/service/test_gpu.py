"""The GPUs of this process are shown, once each, and where there are none nothing is asked."""

from __future__ import annotations

import pytest

from shortlist.engine import device
from shortlist.service.gpu import show_gpus
from shortlist.telemetry import Metrics
from shortlist.telemetry.gpu import GpuReading


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return what is asked of the devices, which all answer."""
    seen: list[list[str]] = []

    def readings(names: list[str]) -> list[GpuReading]:
        seen.append(list(names))
        return [GpuReading(device=name, used_bytes=1, total_bytes=2, busy=None) for name in names]

    monkeypatch.setattr(device, "gpu_readings", readings)
    return seen


def test_gpus_of_this_process_are_shown_once_each(asked: list[list[str]]) -> None:
    metrics = Metrics()
    show_gpus(metrics, ["cuda:1", "cuda:0", "cpu", "cuda:0"])
    assert metrics.registry.get_sample_value("shortlist_gpu_memory_used_bytes", {"device": "cuda:1"}) == 1
    assert asked[-1] == ["cuda:0", "cuda:1"]


def test_where_there_is_no_gpu_none_is_asked(asked: list[list[str]]) -> None:
    metrics = Metrics()
    show_gpus(metrics, ["cpu", "upstream", "none"])
    assert metrics.registry.get_sample_value("shortlist_gpu_memory_used_bytes", {"device": "cpu"}) is None
    assert asked == []
