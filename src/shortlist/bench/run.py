"""`shortlist bench load`: measures all servers at every level, one at a time, and prints and writes the report.

Machines drift, so the servers are interleaved: at every level each server has a turn, in a new random order. After Ctrl-C the
report covers the measurements so far.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shortlist.bench import figures, html_page, tables
from shortlist.bench.drive import Drive, Pace
from shortlist.bench.http_client import LoadClient
from shortlist.bench.machine import describe
from shortlist.bench.outputs import Outputs
from shortlist.bench.plan import LoadPlan, Turn
from shortlist.bench.report import LoadReport
from shortlist.bench.samples import Fate, LevelRun, Pulse
from shortlist.bench.stats import percentile
from shortlist.bench.tables import NOTHING, short
from shortlist.bench.target import Target
from shortlist.bench.texts import Traffic
from shortlist.bench.verify import check
from shortlist.errors import BadSetting, UpstreamError

EXIT_CLEAN: Final = 0
EXIT_ERRORS: Final = 1

SPARE_FILES: Final = 64
"""File descriptors reserved for other uses."""

LOOKS_PER_S: Final = 1
"""Terminal refresh rate: low, because drawing delays requests."""


def run(plan: LoadPlan, outputs: Outputs) -> int:
    """Run, print the tables, write the files; return 0 without request errors, else 1.

    Raises:
        ServiceError: the run cannot start, or a server does not answer.
    """
    outputs.check()
    _raise_file_limit(plan.max_users)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[now]}"),
        console=Console(stderr=True, highlight=False),
        refresh_per_second=LOOKS_PER_S,
    )
    with progress, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        report = runner.run(play(plan, progress))
    if not report.level_runs:
        raise UpstreamError("The run was stopped before anything was measured.", is_retryable=False)
    console = Console(highlight=False)
    for part in tables.parts(report):
        console.print(part)
    _write(report, outputs)
    return EXIT_ERRORS if report.num_errors else EXIT_CLEAN


async def play(plan: LoadPlan, progress: Progress) -> LoadReport:
    """Run the plan and return the report. Raises what `run` raises."""
    stop = asyncio.Event()
    level_runs: list[LevelRun] = []
    total_s = plan.num_turns * plan.turn_s
    bar = progress.add_task("checking all servers", total=total_s, now="")
    for target in plan.targets:
        await _check_server(target, plan)
    with _stoppable(stop):
        for number, turn in enumerate(plan.turns()):
            name = f"{turn.level.name}, {turn.target.name}"
            round_of = f"round {turn.number + 1}, " if plan.repeats > 1 else ""

            def show(pulse: Pulse, shown: str = f"{round_of}{name}", before_s: float = number * plan.turn_s) -> None:
                state = "warming up, " if pulse.is_warming_up else ""
                speed = _speed(pulse.qps, "p50", pulse.p50_s, pulse.num_refused, pulse.num_errors)
                done_s = before_s + min(pulse.elapsed_s, plan.turn_s)
                progress.update(bar, description=escape(shown), completed=done_s, now=f"{state}{speed}")

            level_run = await _level_run(plan, turn, stop, show)
            if level_run is not None:
                level_runs.append(level_run)
                p99_s = percentile(level_run.latencies(Fate.OK), 0.99)
                speed = _speed(level_run.qps, "p99", p99_s, level_run.fates()[Fate.REFUSED], level_run.num_errors)
                progress.console.print(f"[dim]{escape(f'{name}: {speed}')}[/]")
            if stop.is_set():
                break
    progress.update(bar, description="stopped" if stop.is_set() else "done", completed=total_s, now="")
    keys = [target.api_key for target in plan.targets if target.api_key]
    return LoadReport(machine=describe(hidden=keys), plan=plan, level_runs=level_runs, was_stopped=stop.is_set())


async def _check_server(target: Target, plan: LoadPlan) -> None:
    """Send one request, so that a wrong address, key or dialect ends the run before the measurement.

    Raises:
        UpstreamError: the server did not return a good answer.
    """
    async with LoadClient(target, plan.timeout_s) as client:
        outcome = await client.ask(_traffic(plan, f"{target.name}-hello").next())
    if outcome.fate is not Fate.OK:
        why = outcome.why or outcome.fate.value
        raise UpstreamError(f"{target.name} ({target.url}) does not return a good answer: {why}", is_retryable=False)


async def _level_run(plan: LoadPlan, turn: Turn, stop: asyncio.Event, show: Callable[[Pulse], None]) -> LevelRun | None:
    pace = Pace(warm_up_s=plan.warm_up_s, duration_s=plan.duration_s)
    make_drive = partial(Drive, seed=f"{plan.seed}-{turn.seed}", num_kept=plan.num_checked, stop=stop, watch=show)
    async with LoadClient(turn.target, plan.timeout_s) as client:
        driven = await make_drive(client, _traffic(plan, turn.seed), turn.level, pace).run()
    if driven is None:
        return None
    async with LoadClient(turn.target, plan.timeout_s) as client:
        checked = await check(client, driven.sample_log.kept, plan.tolerance, stop)
    return LevelRun(
        target=turn.target.name,
        level=turn.level,
        turn=turn.number,
        num_documents=plan.num_documents,
        window=driven.window,
        samples=driven.sample_log.samples,
        reasons=dict(driven.sample_log.reasons),
        generator=driven.generator,
        check=checked,
    )


def _traffic(plan: LoadPlan, seed: str) -> Traffic:
    seed = f"{plan.seed}-{seed}"
    return Traffic(seed, num_documents=plan.num_documents, num_words=plan.num_words, seen_share=plan.seen_share)


@contextmanager
def _stoppable(stop: asyncio.Event) -> Iterator[None]:
    """Stop the run at the first SIGINT or SIGTERM and keep its results; a second one ends the process."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def leave() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    def halt() -> None:
        stop.set()
        leave()

    for number in numbers:
        loop.add_signal_handler(number, halt)
    try:
        yield
    finally:
        leave()


def _speed(qps: float, name: str, seconds: float | None, num_refused: int, num_errors: int) -> str:
    took = NOTHING if seconds is None else f"{short(seconds)} s"
    return f"{short(qps)} QPS, {name} {took}, {num_refused:,} refused, {num_errors:,} errors"


def _write(report: LoadReport, outputs: Outputs) -> None:
    if outputs.json is not None:
        outputs.json.write_bytes(report.to_json())
    if outputs.markdown is not None:
        tables.write_block(report, outputs.markdown, outputs.plot)
    if outputs.plot is not None:
        figures.draw(report, outputs.plot)
    if outputs.page is not None:
        outputs.page.write_text(html_page.written(report), encoding="utf-8")


def _raise_file_limit(num_users: int) -> None:
    """Raise the open-file limit of this process to the system maximum.

    Raises:
        BadSetting: the limit is below the number of users.
    """
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # the current limit may suffice
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    have, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if have != resource.RLIM_INFINITY and num_users + SPARE_FILES > have:
        raise BadSetting(f"{num_users} users need as many connections, but this process may open {have} files (ulimit -n).")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop factory; None on Windows."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
