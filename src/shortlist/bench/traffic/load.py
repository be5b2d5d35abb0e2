"""`shortlist bench load`: everyone at every level, one server at a time, and whatever was measured shown and written.

Machines drift, so servers are not measured one after the other but side by side: at every level each of them has its turn, in
an order drawn anew. Ctrl-C ends the run, not the report.
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
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shortlist.bench.machine import describe
from shortlist.bench.outputs import Outputs
from shortlist.bench.stats import percentile
from shortlist.bench.tables import NOTHING, short
from shortlist.bench.traffic import page, picture, sheet
from shortlist.bench.traffic.alone import check
from shortlist.bench.traffic.asker import Asker
from shortlist.bench.traffic.drive import Drive, Driven, Pace
from shortlist.bench.traffic.journal import Pulse
from shortlist.bench.traffic.plan import Plan, Turn
from shortlist.bench.traffic.result import LoadReport
from shortlist.bench.traffic.tally import Check, Fate, Visit
from shortlist.bench.traffic.target import Target
from shortlist.bench.traffic.words import Traffic
from shortlist.errors import BadSetting, UpstreamError

EXIT_CLEAN: Final = 0
EXIT_ERRORS: Final = 1

SPARE_FILES: Final = 64
"""Files that are open anyway."""

LOOKS_PER_S: Final = 1
"""How often the terminal is drawn: seldom, because drawing is time in which nobody asks."""


def run(plan: Plan, outputs: Outputs) -> int:
    """Run, print the tables, write the files; return 0 if nothing was answered as it must not be, else 1.

    Raises:
        ServiceError: it cannot start as asked, or a server does not answer at all.
    """
    outputs.check()
    _make_room(plan.max_users)
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
    if not report.visits:
        raise UpstreamError("The run was stopped before anything was measured.", is_retryable=False)
    console = Console(highlight=False)
    for part in sheet.parts(report):
        console.print(part)
    _write(report, outputs)
    return EXIT_ERRORS if report.num_errors else EXIT_CLEAN


async def play(plan: Plan, progress: Progress) -> LoadReport:
    """Run, and return what was found. Raises what `run` raises."""
    stop = asyncio.Event()
    visits: list[Visit] = []
    bar = progress.add_task("asking everyone once", total=plan.num_turns * plan.turn_s, now="")
    for target in plan.targets:
        await _greet(target, plan)
    with _stoppable(stop):
        for number, turn in enumerate(plan.turns()):
            visit = await _visit(plan, turn, stop, partial(_show, progress, bar, plan, number, turn))
            if visit is not None:
                visits.append(visit)
                progress.console.print(f"[dim]{escape(_line(visit))}[/]")
            if stop.is_set():
                break
    progress.update(bar, description="stopped" if stop.is_set() else "done", completed=plan.num_turns * plan.turn_s, now="")
    keys = [target.api_key for target in plan.targets if target.api_key]
    return LoadReport(machine=describe(hidden=keys), plan=plan, visits=visits, was_stopped=stop.is_set())


async def _greet(target: Target, plan: Plan) -> None:
    """Ask a server once, so that a wrong address, key or dialect is told now and not counted for an hour.

    Raises:
        UpstreamError: it did not answer well.
    """
    asker = Asker(target, plan.timeout_s)
    outcome = await asker.ask(_traffic(plan, f"{target.name}-hello").next())
    asker.close()
    if outcome.fate is not Fate.OK:
        why = outcome.why or outcome.fate.value
        raise UpstreamError(f"{target.name} ({target.url}) does not answer as it should: {why}", is_retryable=False)


async def _visit(plan: Plan, turn: Turn, stop: asyncio.Event, watch: Callable[[Pulse], None]) -> Visit | None:
    asker = Asker(turn.target, plan.timeout_s)
    pace = Pace(warm_up_s=plan.warm_up_s, duration_s=plan.duration_s)
    seed = f"{plan.seed}-{turn.seed}"
    drive = Drive(
        asker,
        _traffic(plan, turn.seed),
        turn.level,
        pace,
        seed=seed,
        num_kept=plan.num_checked,
        stop=stop,
        watch=watch,
    )
    driven = await drive.run()
    if driven is None:
        return None
    return _counted(plan, turn, driven, await check(asker, driven.journal.kept, plan.tolerance, stop))


def _counted(plan: Plan, turn: Turn, driven: Driven, checked: Check) -> Visit:
    return Visit(
        target=turn.target.name,
        level=turn.level,
        turn=turn.number,
        num_documents=plan.num_documents,
        window=driven.window,
        samples=driven.journal.samples,
        reasons=dict(driven.journal.reasons),
        generator=driven.generator,
        check=checked,
    )


def _traffic(plan: Plan, seed: str) -> Traffic:
    return Traffic(
        f"{plan.seed}-{seed}", num_documents=plan.num_documents, num_words=plan.num_words, seen_share=plan.seen_share
    )


@contextmanager
def _stoppable(stop: asyncio.Event) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the run with what it has; a second one ends it at once."""
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


def _show(progress: Progress, bar: TaskID, plan: Plan, number: int, turn: Turn, pulse: Pulse) -> None:
    p50 = NOTHING if pulse.p50_s is None else f"{short(pulse.p50_s)} s"
    counts = f"{pulse.num_refused:,} refused, {pulse.num_errors:,} errors"
    state = "warming up, " if pulse.is_warming_up else ""
    turns = f"round {turn.number + 1}, " if plan.repeats > 1 else ""
    progress.update(
        bar,
        description=escape(f"{turns}{turn.level.name}, {turn.target.name}"),
        completed=number * plan.turn_s + min(pulse.elapsed_s, plan.turn_s),
        now=f"{state}{short(pulse.qps)} QPS, p50 {p50}, {counts}",
    )


def _line(visit: Visit) -> str:
    p99_s = percentile(visit.latencies(Fate.OK), 0.99)
    p99 = NOTHING if p99_s is None else f"{short(p99_s)} s"
    counts = f"{visit.fates()[Fate.REFUSED]:,} refused, {visit.num_errors:,} errors"
    return f"{visit.level.name}, {visit.target}: {short(visit.qps)} QPS, p99 {p99}, {counts}"


def _write(report: LoadReport, outputs: Outputs) -> None:
    if outputs.json is not None:
        outputs.json.write_bytes(report.to_json())
    if outputs.markdown is not None:
        sheet.write_block(report, outputs.markdown, outputs.plot)
    if outputs.plot is not None:
        picture.draw(report, outputs.plot)
    if outputs.page is not None:
        outputs.page.write_text(page.written(report), encoding="utf-8")


def _make_room(num_users: int) -> None:
    """Let this process open a file for every connection, as far as the system allows.

    Raises:
        BadSetting: it does not allow as many as there are users.
    """
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # what there is may do
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    have, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if have != resource.RLIM_INFINITY and num_users + SPARE_FILES > have:
        raise BadSetting(f"{num_users} users need as many connections, but this process may open {have} files (ulimit -n).")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes a fast event loop, where there is one."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
