"""The GPUs of this process are shown, once each, and where there are none nothing is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from shortlist.engine import device
from shortlist.engine.base import Engine, EngineInfo
from shortlist.engine.fake import FakeEngine
from shortlist.errors import EngineUnavailable
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


class On(FakeEngine):
    """An engine on a device."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._info = replace(self._info, device=name)


class Gone(On):
    """An engine whose process, which had the device, is gone."""

    def there(self, function: Callable[[], object], *, timeout_s: float) -> object:
        raise EngineUnavailable("it has ended")


class Two(FakeEngine):
    """An engine on two devices, each in a process of its own."""

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, device="cuda:2,cuda:3")

    @property
    def parts(self) -> list[Engine]:
        return [On("cuda:2"), Gone("cuda:3")]


def used_bytes(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value("shortlist_gpu_memory_used_bytes", {"device": name})


def test_gpus_of_this_process_are_shown_once_each(asked: list[list[str]]) -> None:
    metrics = Metrics()
    show_gpus(metrics, [On("cuda:1"), On("cuda:0"), On("cpu"), On("cuda:0")])
    assert asked == []
    assert used_bytes(metrics, "cuda:1") == 1
    assert asked == [["cuda:0"], ["cuda:1"]]


def test_gpu_is_asked_where_its_engine_is_and_one_that_is_gone_says_nothing(asked: list[list[str]]) -> None:
    metrics = Metrics()
    show_gpus(metrics, [Two()])
    assert used_bytes(metrics, "cuda:2") == 1
    assert used_bytes(metrics, "cuda:3") is None
    assert ["cuda:3"] not in asked, "a look from here would take memory there"


def test_where_there_is_no_gpu_none_is_asked(asked: list[list[str]]) -> None:
    metrics = Metrics()
    show_gpus(metrics, [On("cpu"), On("upstream"), On("none")])
    assert used_bytes(metrics, "cpu") is None
    assert asked == []
