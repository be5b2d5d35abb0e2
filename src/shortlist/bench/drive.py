"""Runs one server at one load level and records a measurement window.

Closed loop: each user sends a request, waits for the answer and sends the next; after a refusal it waits for `Retry-After`.
Open loop: arrivals keep to their schedule, and latency runs from the due time, not the send time. Otherwise a stalled server
would get fewer requests during the stall and hide it (coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from shortlist.bench.http_client import LoadClient
from shortlist.bench.plan import Level, Loop
from shortlist.bench.samples import Fate, Generator, MeasuredWindow, Outcome, Pulse, SampleLog
from shortlist.bench.stats import arrivals, percentile
from shortlist.bench.texts import Traffic

LOOK_S: Final = 0.05
"""Poll interval for end conditions that affect no figure."""

TURN_S: Final = 0.02
"""Interval between event loop lag measurements."""

PULSE_S: Final = 1.0
"""Interval between progress reports."""

PAUSE_S: Final = 1.0
"""A user's wait after a refusal without `Retry-After`, or after a failed connection."""

MIN_WINDOW_S: Final = 0.5
"""Minimum window length: a shorter, stopped window is not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Minimum warm-up time and window length.

    Users warm up until each has had an answer, so that the queue has its full length; at most as long as the window.
    """

    warm_up_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Driven:
    """The measurement window, the samples of the whole level run, and the load generator's own utilization."""

    window: MeasuredWindow
    sample_log: SampleLog
    generator: Generator


class Drive:
    """Sends load to one server at one level; single use.

    Args:
        client: Sends the requests.
        traffic: Creates the requests.
        level: Number of users or arrival rate.
        pace: Warm-up and window length.
        seed: Seeds the arrival times and the choice of kept answers.
        num_kept: Number of answers to keep.
        stop: Ends the run early and keeps the samples so far.
        watch: Progress callback.
    """

    def __init__(
        self,
        client: LoadClient,
        traffic: Traffic,
        level: Level,
        pace: Pace,
        *,
        seed: str,
        num_kept: int = 0,
        stop: asyncio.Event | None = None,
        watch: Callable[[Pulse], None] = lambda _: None,
    ) -> None:
        self._client, self._traffic, self._level, self._pace = client, traffic, level, pace
        self._seed, self._watch = seed, watch
        self._stop = stop or asyncio.Event()
        self._over = asyncio.Event()
        self._sample_log = SampleLog(Random(seed), num_kept)  # noqa: S311 - no secret
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._lags: list[float] = []
        self._num_settled = 0
        self._start_s = 0.0
        self._is_warming_up = True

    async def run(self) -> Driven | None:
        """Send the load; return the measurement, or None if stopped before there was one."""
        self._start_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(self._measure_lag()), group.create_task(self._report())]
            if self._level.loop is Loop.OPEN:
                self._keep(group.create_task(self._arrive(group)))
            else:
                for _ in range(int(self._level.amount)):
                    self._keep(group.create_task(self._use()))
            measured = await self._measure()
            self._over.set()
            while self._in_flight and not await happens(self._stop, LOOK_S):
                pass  # requests in flight count, too
            for task in (*helpers, *self._in_flight):
                task.cancel()
        return Driven(measured[0], self._sample_log, measured[1]) if measured else None

    async def _measure(self) -> tuple[MeasuredWindow, Generator] | None:
        """Wait for the window to begin and to end."""
        if await happens(self._stop, self._pace.warm_up_s) or await self._settle():
            return None
        self._is_warming_up, begin_s = False, self._now_s()
        self._lags.clear()
        used_s = time.process_time()
        await happens(self._stop, self._pace.duration_s)
        window = MeasuredWindow(begin_s, self._now_s())
        if self._stop.is_set() and window.seconds < MIN_WINDOW_S:
            return None
        cpu_share = (time.process_time() - used_s) / window.seconds
        return window, Generator(cpu_share=cpu_share, lag_p99_s=percentile(sorted(self._lags), 0.99) or 0.0)

    async def _settle(self) -> bool:
        """Wait until every user has had an answer; return whether the run was stopped meanwhile."""
        num_users = self._level.amount if self._level.loop is Loop.CLOSED else 0
        while self._num_settled < num_users and self._now_s() < max(self._pace.warm_up_s, self._pace.duration_s):
            if await happens(self._stop, LOOK_S):
                return True
        return False

    async def _use(self) -> None:
        """Run one closed-loop user."""
        is_settled = False
        while not self._over.is_set():
            outcome = await self._ask(time.perf_counter())
            if not is_settled:
                self._num_settled, is_settled = self._num_settled + 1, True
            if (pause_s := pause_after(outcome)) > 0:
                await happens(self._over, pause_s)

    async def _arrive(self, group: asyncio.TaskGroup) -> None:
        """Send requests at their arrival times."""
        for at_s in arrivals(self._level.amount, self._seed):
            await happens(self._over, max(at_s - self._now_s(), 0.0))
            if self._over.is_set():
                return
            # A timer may fire early: a request sent early is due when it is sent.
            due_s = min(self._start_s + at_s, time.perf_counter())
            self._keep(group.create_task(self._ask(due_s)))

    async def _ask(self, due_s: float) -> Outcome:
        request = self._traffic.next()
        outcome = await self._client.ask(request, due_s)
        self._sample_log.note(request, outcome, due_s=due_s, start_s=self._start_s)
        return outcome

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _measure_lag(self) -> None:
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(TURN_S)
            self._lags.append(max(time.perf_counter() - before_s - TURN_S, 0.0))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(PULSE_S)
            self._watch(self._sample_log.pulse(self._now_s(), is_warming_up=self._is_warming_up))

    def _now_s(self) -> float:
        return time.perf_counter() - self._start_s


async def happens(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event with a timeout; return whether it is set."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def pause_after(outcome: Outcome) -> float:
    """Return a user's wait in seconds before the next request: `Retry-After` after a refusal, 0 after an answer.

    Source: RFC 9110, 10.2.3; the form in seconds is supported, the date form is not.
    """
    if outcome.fate in {Fate.CUT, Fate.UNSENT}:
        return PAUSE_S
    if outcome.fate is not Fate.REFUSED:
        return 0.0
    retry_after = (outcome.retry_after or "").strip()
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else PAUSE_S
