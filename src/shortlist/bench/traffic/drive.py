"""One server at one level: users or arrivals, and a window to measure in.

Closed loop: every user asks, waits, and asks again; one that is refused comes back when it was told to. Open loop: arrivals
keep to their schedule whatever the server does, and a request's time runs from when it was due, not from when it was sent:
otherwise a server that stalls would be asked less just then, and the stall would hardly show.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from shortlist.bench.stats import arrivals, percentile
from shortlist.bench.traffic.asker import Asker, Outcome
from shortlist.bench.traffic.journal import Journal, Pulse
from shortlist.bench.traffic.schedule import Level, Loop
from shortlist.bench.traffic.tally import Fate, Generator, Window
from shortlist.bench.traffic.words import Traffic

LOOK_S: Final = 0.05
"""Between looks at whether something is over that no figure depends on."""

TURN_S: Final = 0.02
"""Between measurements of how late the generator's own turns come."""

PULSE_S: Final = 1.0
"""Between tellings of how it goes."""

PAUSE_S: Final = 1.0
"""What a user waits after a refusal that does not say how long, or when the connection failed: nobody hammers a closed door."""

MIN_WINDOW_S: Final = 0.5
"""A window that was stopped before this says nothing about speed, and is not reported."""

Watch = Callable[[Pulse], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to ask.

    Attributes:
        warm_up_s: Before the window, at least. Users warm up until each has had an answer, so that the queue is as long as it
            will be; but no longer than the window is.
        duration_s: The window.
    """

    warm_up_s: float
    duration_s: float

    @property
    def max_warm_up_s(self) -> float:
        """How long users may take to have had an answer each."""
        return max(self.warm_up_s, self.duration_s)


@dataclass(frozen=True, slots=True)
class Driven:
    """What was measured when, what was noted all along, and how hard it was to ask."""

    window: Window
    journal: Journal
    generator: Generator


class Drive:
    """Asks one server at one level; to be used once.

    Args:
        asker: Asks the server.
        traffic: What to ask.
        level: How much.
        pace: How long.
        seed: What arrivals, and the answers that are kept, are drawn with.
        num_kept: How many answers to keep.
        stop: Ends it early, with what was measured so far.
        watch: Hears how it goes.
    """

    def __init__(
        self,
        asker: Asker,
        traffic: Traffic,
        level: Level,
        pace: Pace,
        *,
        seed: str,
        num_kept: int = 0,
        stop: asyncio.Event | None = None,
        watch: Watch = lambda _: None,
    ) -> None:
        self._asker, self._traffic, self._level, self._pace = asker, traffic, level, pace
        self._seed, self._watch = seed, watch
        self._stop = stop or asyncio.Event()
        self._over = asyncio.Event()
        self._journal = Journal(Random(seed), num_kept)  # noqa: S311 - no secret
        self._asking: set[asyncio.Task[None]] = set()
        self._lags: list[float] = []
        self._num_settled = 0
        self._start_s = 0.0
        self._begin_s: float | None = None

    async def run(self) -> Driven | None:
        """Ask; return what came of it, or None if it was stopped before there was anything to measure."""
        self._start_s = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._measure_lag()), group.create_task(self._tell())]
                self._start(group)
                measured = await self._measure()
                self._over.set()
                await self._finish()
                for task in (*helpers, *self._asking):
                    task.cancel()
        finally:
            self._asker.close()
        return Driven(measured[0], self._journal, measured[1]) if measured else None

    def _start(self, group: asyncio.TaskGroup) -> None:
        if self._level.loop is Loop.OPEN:
            self._keep(group.create_task(self._arrive(group)))
        else:
            for _ in range(int(self._level.amount)):
                self._keep(group.create_task(self._use()))

    async def _measure(self) -> tuple[Window, Generator] | None:
        """Wait for the window, and for its end."""
        if await happens(self._stop, self._pace.warm_up_s) or await self._settle():
            return None
        self._begin_s = begin_s = self._now_s()
        self._lags.clear()
        used_s = time.process_time()
        await happens(self._stop, self._pace.duration_s)
        window = Window(begin_s, self._now_s())
        if self._stop.is_set() and window.seconds < MIN_WINDOW_S:
            return None
        cpu_share = (time.process_time() - used_s) / window.seconds
        return window, Generator(cpu_share=cpu_share, lag_p99_s=percentile(sorted(self._lags), 0.99) or 0.0)

    async def _settle(self) -> bool:
        """Wait until every user has had an answer; return whether it was stopped meanwhile."""
        num_users = self._level.amount if self._level.loop is Loop.CLOSED else 0
        while self._num_settled < num_users and self._now_s() < self._pace.max_warm_up_s:
            if await happens(self._stop, LOOK_S):
                return True
        return False

    async def _finish(self) -> None:
        """Wait for what is still under way: its answer counts, or that there was none."""
        while self._asking and not await happens(self._stop, LOOK_S):
            pass

    # -- who asks --

    async def _use(self) -> None:
        """Be a user."""
        is_settled = False
        while not self._over.is_set():
            outcome = await self._ask(time.perf_counter())
            if not is_settled:
                self._num_settled, is_settled = self._num_settled + 1, True
            if (pause_s := pause_after(outcome)) > 0:
                await happens(self._over, pause_s)

    async def _arrive(self, group: asyncio.TaskGroup) -> None:
        """Let requests arrive, each at its time."""
        for at_s in arrivals(self._level.amount, self._seed):
            await happens(self._over, max(at_s - self._now_s(), 0.0))
            if self._over.is_set():
                return
            # A timer may be a little early, and what is sent early is not due later.
            due_s = min(self._start_s + at_s, time.perf_counter())
            self._keep(group.create_task(self._arrived(due_s)))

    async def _arrived(self, due_s: float) -> None:
        await self._ask(due_s)

    async def _ask(self, due_s: float) -> Outcome:
        request = self._traffic.next()
        outcome = await self._asker.ask(request, due_s)
        self._journal.note(request, outcome, due_s=due_s, start_s=self._start_s)
        return outcome

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    # -- who watches --

    async def _measure_lag(self) -> None:
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(TURN_S)
            self._lags.append(max(time.perf_counter() - before_s - TURN_S, 0.0))

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(PULSE_S)
            self._watch(self._journal.pulse(self._now_s(), is_warming_up=self._begin_s is None))

    def _now_s(self) -> float:
        return time.perf_counter() - self._start_s


async def happens(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event, but not longer than this; return whether it has happened."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def pause_after(outcome: Outcome) -> float:
    """Return how long a user waits before asking again: as long as it was told to, and not at all after an answer.

    Source: RFC 9110, 10.2.3; of its two forms, a number of seconds is read, and a date is not.
    """
    if outcome.fate in {Fate.CUT, Fate.UNSENT}:
        return PAUSE_S
    if outcome.fate is not Fate.REFUSED:
        return 0.0
    told = (outcome.retry_after or "").strip()
    return float(told) if told.isascii() and told.isdigit() else PAUSE_S
