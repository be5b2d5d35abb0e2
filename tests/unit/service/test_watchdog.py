"""A blocked loop shows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from shortlist.service import watchdog
from shortlist.telemetry import Metrics
from tests.support.simulated import simulated


async def watched(metrics: Metrics, block_s: float) -> None:
    task = asyncio.create_task(watchdog.watch(metrics))
    await asyncio.sleep(0.01)
    time.sleep(block_s)  # noqa: ASYNC251 - what must not happen
    await asyncio.sleep(2 * watchdog.PERIOD_S)
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
    monkeypatch.setattr(watchdog, "processor_wait_s", lambda: time.monotonic())  # noqa: PLW0108 - the clock of the test, which is not there yet; never had one
    await watched(metrics, block_s=0.3)
    assert longer_than(metrics, "0.2") == 1
    assert longer_than(metrics, "0.001", "blocked") == 0


def test_wait_for_a_processor_only_grows() -> None:
    before_s = watchdog.processor_wait_s()
    assert 0 <= before_s <= watchdog.processor_wait_s() < time.monotonic() + 1


@pytest.mark.parametrize("content", [None, b"", b"1"])
def test_system_that_does_not_tell_says_nothing(content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "schedstat"
    if content is not None:
        place.write_bytes(content)
    monkeypatch.setattr(watchdog, "_SCHEDSTAT", place)
    assert watchdog.processor_wait_s() == 0.0


@simulated
async def test_long_block_is_worth_a_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(watchdog, "LONG_S", 0.1)
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
