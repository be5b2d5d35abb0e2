"""Runs a comparison (`python -m benchmarks`): first the scores of all contenders, then their speed, in rounds of new requests.

The speed of a machine drifts, because of other load and of temperature. So contenders are not measured one after the other. In
every round, each contender answers the same request, in a new random order, and the report has the ratio within a round.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from tokenizers import Tokenizer

from benchmarks.engines import plot, tables
from benchmarks.engines.agreement import check_set
from benchmarks.engines.memory import Gpu, gpu_of
from benchmarks.engines.report import Report, Round
from benchmarks.engines.roofline import Floor, Work, measure, work_of
from benchmarks.engines.runner import ContenderRunner
from benchmarks.engines.saturation import TURNS, SaturationResult, arrival_requests, turn_requests
from benchmarks.engines.spec import RunSpec
from benchmarks.loads import BenchLoad, RequestWriter
from shortlist.bench.machine import describe
from shortlist.bench.outputs import Outputs
from shortlist.bench.tables import OURS
from shortlist.bench.texts import LoadRequest, sentences
from shortlist.config import ModelSettings
from shortlist.errors import UpstreamError
from shortlist.models import resolve
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.types import RERANK

EXIT_RANKED: Final = 0
EXIT_NOT_RANKED: Final = 1

WARM_UPS: Final = 1
"""Warm-up rounds, with the first load; the check set, with documents of every length, runs before them."""

CountedRequest = tuple[LoadRequest, Work]


def run(run_spec: RunSpec, outputs: Outputs) -> int:
    """Run a comparison, print the tables and write the files; return 0 if every contender is ranked, else 1.

    Raises:
        ServiceError: the run cannot start with this specification, or the reference failed.
    """
    outputs.check()
    gpu = gpu_of(run_spec.device)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[name]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True, highlight=False),
    )
    with _stoppable(), progress:
        report = execute(run_spec, progress, gpu)
    console = Console(highlight=False)
    for part in tables.parts(report):
        console.print(part)
    _write(report, outputs)
    return EXIT_NOT_RANKED if any(entry.why_not for entry in report.entries) else EXIT_RANKED


def execute(run_spec: RunSpec, progress: Progress, gpu: Gpu | None = None) -> Report:
    """Run a comparison and return its report. Raises the errors of `run`."""
    model_bar = progress.add_task("reading the model", total=1, name="")
    folder = resolve(run_spec.model, declared=RERANK).path
    limit = run_spec.max_model_len or ModelSettings().max_model_len
    encoder = QwenEncoder(folder / "tokenizer.json", operation=RERANK, max_model_len=limit)
    writer = RequestWriter(Tokenizer.from_file(str(folder / "tokenizer.json")), sentences())
    requests = _requests(run_spec, encoder, writer)  # before contenders start, so that a too long request fails in seconds
    _tick(progress, model_bar, "")
    checks = check_set(writer, run_spec.seed)
    with ContenderRunner(run_spec, str(folder), partial(_print_dropped, progress), gpu) as runner:
        _prepare(run_spec, runner, checks, progress)
        runner.pause()
        floors = _floor(run_spec, runner, folder, progress)
        rounds = _rounds(run_spec, runner, requests, progress)
        many = _saturation(run_spec, runner, writer, rounds, progress) if run_spec.is_saturated else {}
        floors += _floor(run_spec, runner, folder, progress) if floors else []
        runner.record_memory()
    return Report(
        model=run_spec.model,
        machine=describe(gpu=gpu.name if gpu else None, program="python -m benchmarks"),
        reference=run_spec.reference,
        entries=list(runner.entries.values()),
        rounds=rounds,
        many=many,
        floors=floors,
        num_checked=sum(len(check.documents) for check in checks),
        seed=run_spec.seed,
    )


def _print_dropped(progress: Progress, reason: str) -> None:
    progress.console.print(f"[yellow]left out:[/] {escape(reason)}")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, so that contenders end with this process, even one that hangs and ignores a closed input."""
    previous_handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


def _requests(run_spec: RunSpec, encoder: QwenEncoder, writer: RequestWriter) -> Mapping[str, Sequence[CountedRequest]]:
    """Write one request for every round of every load, and count its work."""
    return {
        load.name: [
            (request, work_of(encoder, request))
            for number in range(run_spec.repeats + WARM_UPS)
            for request in [writer.request(load, f"{run_spec.seed}-{load.name}-{number}")]
        ]
        for load in run_spec.loads
    }


def _prepare(run_spec: RunSpec, runner: ContenderRunner, checks: Sequence[LoadRequest], progress: Progress) -> None:
    start_bar = progress.add_task("starting", total=len(run_spec.contenders), name="")
    runner.start(partial(_tick, progress, start_bar))
    check_bar = progress.add_task("checking scores", total=len(runner.names), name="")
    runner.check(checks, partial(_tick, progress, check_bar))


def _rounds(
    run_spec: RunSpec, runner: ContenderRunner, requests_by_load: Mapping[str, Sequence[CountedRequest]], progress: Progress
) -> Mapping[str, Sequence[Round]]:
    """Run all rounds; return those after the warm-up, by load."""
    rng = Random(run_spec.seed)
    bar = progress.add_task(
        "warming up", total=(WARM_UPS + run_spec.repeats * len(requests_by_load)) * len(runner.names), name=""
    )
    tick = partial(_tick, progress, bar)
    for request, _ in next(iter(requests_by_load.values()))[:WARM_UPS]:
        runner.run_round(request, rng, tick)
    measured_rounds: dict[str, list[Round]] = {name: [] for name in requests_by_load}
    for number in range(run_spec.repeats):
        for name, requests in requests_by_load.items():
            request, work = requests[WARM_UPS + number]
            progress.update(bar, description=f"round {number + 1} of {run_spec.repeats}, {name}")
            measured_rounds[name].append(Round(work=work, seconds=runner.run_round(request, rng, tick)))
    return measured_rounds


def _saturation(
    run_spec: RunSpec, runner: ContenderRunner, writer: RequestWriter, rounds: Mapping[str, Sequence[Round]], progress: Progress
) -> Mapping[str, Mapping[str, SaturationResult]]:
    """Send concurrent requests to all contenders; return the results by load and contender.

    The number of requests depends on the contender's speed. All contenders get the same requests.
    """
    rng = Random(run_spec.seed)
    bar = progress.add_task("at once", total=len(run_spec.loads) * (TURNS + 1) * len(runner.names), name="")
    tick = partial(_tick, progress, bar)
    results: dict[str, Mapping[str, SaturationResult]] = {}
    for load in run_spec.loads:

        def requests_for(turn: str, counts: Mapping[str, int], load: BenchLoad = load) -> Mapping[str, Sequence[LoadRequest]]:
            max_count = max(counts.values(), default=0)
            requests = [writer.request(load, f"{run_spec.seed}-{load.name}-{turn}-{number}") for number in range(max_count)]
            return {name: requests[:count] for name, count in counts.items()}

        progress.update(bar, description=f"{load.name} at once")
        request_s = {name: median(each.seconds[name] for each in rounds[load.name]) for name in runner.names}
        counts = {name: turn_requests(request_s[name], runner.at_once(name)) for name in runner.names}
        turns = [runner.saturate(requests_for(f"turn{turn}", counts), rng, tick) for turn in range(TURNS)]
        rates = {name: [turn[name] for turn in turns] for name in runner.names}
        per_s = {name: median(each) / load.num_documents for name, each in rates.items()}
        answer_s = runner.send_arrivals(
            requests_for("late", {name: arrival_requests(each) for name, each in per_s.items()}), per_s, rng, tick
        )
        results[load.name] = {
            name: SaturationResult(at_once=runner.at_once(name), documents_per_s=rates[name], answer_s=seconds)
            for name, seconds in answer_s.items()
        }
    return results


def _tick(progress: Progress, bar: TaskID, name: str) -> None:
    progress.update(bar, advance=1, name=name)


def _floor(run_spec: RunSpec, runner: ContenderRunner, folder: Path, progress: Progress) -> list[Floor]:
    """Measure the floor while all contenders are stopped. Without a floor, the run continues."""
    ready = runner.entries[OURS].ready
    if run_spec.floor is None or ready is None:
        return []
    dtype = ready.dtype if ready.dtype in {"float32", "bfloat16", "float16"} else "bfloat16"
    try:
        return [measure([*run_spec.floor, str(folder), "--dtype", dtype, "--device", run_spec.device])]
    except UpstreamError as error:
        progress.console.print(f"[yellow]{escape(error.message)}[/]")
        return []


def _write(report: Report, outputs: Outputs) -> None:
    if outputs.json is not None:
        outputs.json.write_bytes(report.to_json())
    if outputs.markdown is not None:
        tables.write_block(report, outputs.markdown, outputs.plot)
    if outputs.plot is not None:
        plot.draw(report, outputs.plot)
