"""Load reports with numbers that can be checked in the head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shortlist.bench.plan import Level, LoadPlan
from shortlist.bench.report import LoadReport
from shortlist.bench.samples import Fate, Generator, LevelRun, MeasuredWindow, RequestSample
from shortlist.bench.target import targets
from tests.support.reports import MACHINE

TEN, HUNDRED, RATE = Level.of_users(10), Level.of_users(100), Level.of_rate(20)
IDLE = Generator(cpu_share=0.1, lag_p99_s=0.001)
WINDOW = MeasuredWindow(5.0, 15.0)


def good(latencies_s: Iterable[float], *, due_s: float = 5.0) -> list[RequestSample]:
    """Good answers, all due at one time."""
    return [RequestSample(due_s, latency_s, Fate.OK, 200) for latency_s in latencies_s]


def bad(
    fate: Fate, count: int = 1, *, status: int | None = None, due_s: float = 6.0, told: bool = False
) -> list[RequestSample]:
    return [RequestSample(due_s, 0.5, fate, status, told)] * count


def level_run(target: str, level: Level = TEN, samples: Sequence[RequestSample] = (), **fields: object) -> LevelRun:
    """A window of ten seconds, and ten documents a request."""
    made = LevelRun(target=target, level=level, turn=0, num_documents=10, window=WINDOW, samples=list(samples), generator=IDLE)
    return replace(made, **fields)  # type: ignore[arg-type]


def plan(*urls: str, levels: Sequence[Level] = (TEN, HUNDRED), **fields: object) -> LoadPlan:
    made = LoadPlan(targets=targets(urls or ("ours=http://localhost:8080", "peer=http://localhost:8081")), levels=levels)
    return replace(made, **fields)  # type: ignore[arg-type]


def report(**fields: object) -> LoadReport:
    """Ours answers 20 and 22 requests a second, the peer 10 and 5, and refuses, fails and loses some at the second level."""
    level_runs = [
        level_run("peer", TEN, good([0.9] * 100)),
        level_run("ours", TEN, good([0.1 * number for number in range(1, 11)] * 20)),
        level_run("ours", HUNDRED, good([2.0] * 220), turn=0),
        level_run(
            "peer",
            HUNDRED,
            [
                *good([4.0] * 50),
                *bad(Fate.REFUSED, 3, status=429, told=True),
                *bad(Fate.FAILED, 2, status=500),
                *bad(Fate.LOST),
            ],
            reasons={"500 <engine> error": 2, "no answer within 120 s": 1},
        ),
    ]
    made = LoadReport(machine=MACHINE, plan=plan(), level_runs=level_runs)
    return replace(made, **fields)  # type: ignore[arg-type]
