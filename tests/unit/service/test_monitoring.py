"""Event loop lag is measured, every GPU is reported once, and traces go to the configured collector."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from shortlist.engine import device
from shortlist.engine.base import Engine, EngineInfo
from shortlist.errors import BadSetting, EngineUnavailable
from shortlist.installation import install_hint
from shortlist.service import monitoring
from shortlist.service.monitoring import show_gpus, tracing_to
from shortlist.telemetry import Metrics
from shortlist.telemetry.gpu import GpuReading
from shortlist.telemetry.traces import NO_TRACING
from tests.support.apps import served
from tests.support.fake_engine import FakeEngine
from tests.support.simulated import simulated


async def watched(metrics: Metrics, block_s: float) -> None:
    task = asyncio.create_task(monitoring.watch(metrics))
    await asyncio.sleep(0.01)
    time.sleep(block_s)  # noqa: ASYNC251 - what must not happen
    await asyncio.sleep(2 * monitoring.PERIOD_S)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def longer_than(metrics: Metrics, bound: str, what: str = "lag") -> float:
    value, name = metrics.registry.get_sample_value, f"shortlist_event_loop_{what}_seconds"
    total = value(f"{name}_count") or 0.0
    return total - (value(f"{name}_bucket", {"le": bound}) or 0.0)


@simulated
async def test_blocked_loop_shows() -> None:
    metrics = Metrics()
    await watched(metrics, block_s=0.3)
    assert longer_than(metrics, "0.2") == 1
    assert longer_than(metrics, "0.1", "blocked") == 1


@simulated
async def test_waiting_for_a_processor_is_late_but_not_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    monkeypatch.setattr(monitoring, "processor_wait_s", lambda: time.monotonic())  # noqa: PLW0108 - the clock of the test, which is not there yet; never had one
    await watched(metrics, block_s=0.3)
    assert longer_than(metrics, "0.2") == 1
    assert longer_than(metrics, "0.001", "blocked") == 0


def test_wait_for_a_processor_only_grows() -> None:
    before_s = monitoring.processor_wait_s()
    assert 0 <= before_s <= monitoring.processor_wait_s() < time.monotonic() + 1


@pytest.mark.parametrize("content", [None, b"", b"1"])
def test_system_without_schedstat_reports_zero(content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "schedstat"
    if content is not None:
        place.write_bytes(content)
    monkeypatch.setattr(monitoring, "_SCHEDSTAT", place)
    assert monitoring.processor_wait_s() == 0.0


@simulated
async def test_long_block_is_worth_a_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(monitoring, "LONG_S", 0.1)
    await watched(Metrics(), block_s=0.3)
    assert [record.message for record in caplog.records] == ["event loop was blocked"]


@simulated
async def test_tasks_are_counted() -> None:
    metrics = Metrics()
    others = [asyncio.create_task(asyncio.sleep(10)) for _ in range(7)]
    await watched(metrics, block_s=0.0)
    assert metrics.registry.get_sample_value("shortlist_tasks") == 7 + 2  # this test and the watchdog
    for other in others:
        other.cancel()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the device readings that were requested; all succeed."""
    seen: list[list[str]] = []

    def document_stats(names: list[str]) -> list[GpuReading]:
        seen.append(list(names))
        return [GpuReading(device=name, used_bytes=1, total_bytes=2, busy=None) for name in names]

    monkeypatch.setattr(device, "gpu_readings", document_stats)
    return seen


T = TypeVar("T")


class On(FakeEngine):
    """An engine on a device."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._info = replace(self._info, device=name)


class Gone(On):
    """An engine whose process has exited."""

    def run_in_engine(self, function: Callable[[], T], *, timeout_s: float) -> T:
        raise EngineUnavailable("it has ended")


class Two(FakeEngine):
    """An engine on two devices, each in its own process."""

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, device="cuda:2,cuda:3")

    @property
    def replicas(self) -> list[Engine]:
        return [On("cuda:2"), Gone("cuda:3")]


def used_bytes(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value("shortlist_gpu_memory_used_bytes", {"device": name})


def test_gpus_of_this_process_are_shown_once_each(asked: list[list[str]]) -> None:
    metrics = Metrics()
    show_gpus(metrics, [served(On(name)) for name in ("cuda:1", "cuda:0", "cpu", "cuda:0")])
    assert asked == []
    assert used_bytes(metrics, "cuda:1") == 1
    assert asked == [["cuda:0"], ["cuda:1"]]


def test_gpu_is_read_in_its_engine_process_and_an_exited_one_is_left_out(asked: list[list[str]]) -> None:
    metrics = Metrics()
    show_gpus(metrics, [served(Two())])
    assert used_bytes(metrics, "cuda:2") == 1
    assert used_bytes(metrics, "cuda:3") is None
    assert ["cuda:3"] not in asked, "a look from here would take memory there"


def test_without_a_gpu_none_is_read(asked: list[list[str]]) -> None:
    metrics = Metrics()
    show_gpus(metrics, [served(On(name)) for name in ("cpu", "upstream", "none")])
    assert used_bytes(metrics, "cpu") is None
    assert asked == []


def test_without_a_collector_nothing_is_traced() -> None:
    assert tracing_to(None, sample_ratio=1.0) is NO_TRACING


def test_traces_are_on_with_a_collector() -> None:
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry is not installed")
    tracing = tracing_to("http://127.0.0.1:1", sample_ratio=1.0)
    assert tracing.is_on
    tracing.close()


def test_library_that_is_missing_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name == "shortlist.telemetry.otlp":
            raise ModuleNotFoundError(name="opentelemetry")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(BadSetting, match=rf"opentelemetry: {re.escape(install_hint('otel'))}"):
        tracing_to("http://127.0.0.1:1", sample_ratio=1.0)
