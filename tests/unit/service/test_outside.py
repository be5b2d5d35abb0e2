"""GPUs that engines of this process compute on are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shortlist.engine import device
from shortlist.engine.base import EngineInfo
from shortlist.engine.fake import FakeEngine
from shortlist.engine.restartable import RestartableEngine
from shortlist.service.outside import show_gpus
from shortlist.telemetry import Metrics
from shortlist.telemetry.outside import GpuReading


class On(FakeEngine):
    """An engine on a device."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, device=self._name)


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
    show_gpus(metrics, [On("cuda:0"), On("cuda:0"), On("cpu"), RestartableEngine(On("cuda:1"), FakeEngine)])
    assert metrics.registry.get_sample_value("shortlist_gpu_memory_used_bytes", {"device": "cuda:1"}) == 1
    assert asked[-1] == ["cuda:0", "cuda:1"]


def test_without_a_gpu_nothing_is_asked(asked: list[list[str]]) -> None:
    metrics = Metrics()
    show_gpus(metrics, [On("cpu"), FakeEngine()])
    assert metrics.registry.get_sample_value("shortlist_gpu_memory_used_bytes", {"device": "cpu"}) is None
    assert asked == []
