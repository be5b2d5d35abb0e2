"""Spans belong to the current request, and are dropped without a collector."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from shortlist.telemetry.traces import NO_TRACE, NO_TRACING, Attribute, add_span, span, use_trace


@dataclass
class Noted:
    """Implements `Trace`."""

    steps: list[str] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        yield
        self.steps.append(name)

    def add_span(self, name: str, started_s: float, ended_s: float) -> None:
        self.steps.append(name)
        self.times.append((started_s, ended_s))

    def end(self, name: str, attributes: Mapping[str, Attribute], *, has_failed: bool) -> None:
        self.steps.append("end")


async def handled(trace: Noted, name: str) -> None:
    with use_trace(trace):
        await asyncio.sleep(0)
        with span(name):
            await asyncio.to_thread(add_span, f"{name} in a thread", 1.0, 2.0)


async def test_requests_at_once_keep_their_steps_apart() -> None:
    one, other = Noted(), Noted()
    await asyncio.gather(handled(one, "a"), handled(other, "b"))
    assert one.steps == ["a in a thread", "a"]
    assert other.steps == ["b in a thread", "b"]


def test_step_without_an_end_ends_now() -> None:
    trace, before_s = Noted(), time.monotonic()
    with use_trace(trace):
        add_span("tokenize", before_s)
    [(started_s, ended_s)] = trace.times
    assert started_s == before_s <= ended_s <= time.monotonic()


def test_spans_outside_of_a_request_are_dropped() -> None:
    trace = Noted()
    with use_trace(trace):
        pass
    with span("cache"):
        add_span("queue", 0.0)
    assert trace.steps == []


def test_tracing_that_is_off_takes_everything_and_keeps_nothing() -> None:
    trace = NO_TRACING.begin({b"traceparent": b"00-1-1-01"})
    assert trace is NO_TRACE
    assert not NO_TRACING.is_on
    with use_trace(trace), span("cache"):
        add_span("queue", 0.0, 1.0)
    trace.add_span("queue", 0.0, 1.0)
    trace.end("request", {}, has_failed=True)
    NO_TRACING.close()
