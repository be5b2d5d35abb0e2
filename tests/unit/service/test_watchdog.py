"""A blocked loop shows."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from shortlist.service import watchdog
from shortlist.telemetry import Metrics


async def watched(metrics: Metrics, block_s: float) -> None:
    task = asyncio.create_task(watchdog.watch(metrics))
    await asyncio.sleep(0.01)
    time.sleep(block_s)  # noqa: ASYNC251 - what must not happen
    await asyncio.sleep(2 * watchdog.PERIOD_S)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def longer_than(metrics: Metrics, bound: str) -> float:
    value = metrics.registry.get_sample_value
    total = value("shortlist_event_loop_lag_seconds_count") or 0.0
    return total - (value("shortlist_event_loop_lag_seconds_bucket", {"le": bound}) or 0.0)


async def test_blocked_loop_shows() -> None:
    metrics = Metrics()
    await watched(metrics, block_s=0.3)
    assert longer_than(metrics, "0.2") == 1


async def test_long_block_is_worth_a_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(watchdog, "LONG_S", 0.1)
    await watched(Metrics(), block_s=0.3)
    assert [record.message for record in caplog.records] == ["event loop was blocked"]


async def test_tasks_are_counted() -> None:
    metrics = Metrics()
    others = [asyncio.create_task(asyncio.sleep(10)) for _ in range(7)]
    await watched(metrics, block_s=0.0)
    assert metrics.registry.get_sample_value("shortlist_tasks") == 7 + 2  # this test and the watchdog
    for other in others:
        other.cancel()
