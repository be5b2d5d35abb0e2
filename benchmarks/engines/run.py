"""`python -m benchmarks`: everyone's scores first, then everyone's speed, round by round, on new requests.

Machines drift: a neighbour wakes up, a processor gets warm. So no contender is measured by itself and compared later; in every
round each one answers the very same request, in a new random order, and what is reported is the ratio within a round.
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
from benchmarks.engines.runner import Field
from benchmarks.engines.saturation import TURNS, Many, late_requests, turn_requests
from benchmarks.engines.spec import RunSpec
from benchmarks.loads import BenchLoad, RequestWriter
from shortlist.bench.machine import describe
from shortlist.bench.outputs import Outputs
from shortlist.bench.tables import OURS
from shortlist.bench.texts import LoadRequest, sentences
from shortlist.config import ModelSettings
from shortlist.errors import UpstreamError
from shortlist.hub import resolve
from shortlist.text.qwen_encoder import QwenEncoder
from shortlist.types import Task

EXIT_RANKED: Final = 0
EXIT_NOT_RANKED: Final = 1

WARM_UPS: Final = 1
"""Rounds of the first load that do not count; the check set, with documents of every length, went before them."""

Asked = tuple[LoadRequest, Work]


def run(order: RunSpec, outputs: Outputs) -> int:
    """Run, print the tables, write the files; return 0 if every contender is ranked, else 1.

    Raises:
        ServiceError: it cannot start as asked, or the reference failed.
    """
    outputs.check()
    gpu = gpu_of(order.device)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[name]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True, highlight=False),
    )
    with _stoppable(), progress:
        report = play(order, progress, gpu)
    console = Console(highlight=False)
    for part in tables.parts(report):
        console.print(part)
    _write(report, outputs)
    return EXIT_NOT_RANKED if any(entry.why_not for entry in report.entries) else EXIT_RANKED


def play(order: RunSpec, progress: Progress, gpu: Gpu | None = None) -> Report:
    """Run, and return what was found. Raises what `run` raises."""
    reading = progress.add_task("reading the model", total=1, name="")
    folder = resolve(order.model, declared=Task.RERANK).path
    limit = order.max_model_len or ModelSettings().max_model_len
    encoder = QwenEncoder(folder / "tokenizer.json", task=Task.RERANK, max_model_len=limit)
    writer = RequestWriter(Tokenizer.from_file(str(folder / "tokenizer.json")), sentences())
    asked = _requests(order, encoder, writer)  # before anyone is started: one that is too long is told in seconds
    _tick(progress, reading, "")
    checks = check_set(writer, order.seed)
    with Field(order, str(folder), partial(_say_left_out, progress), gpu) as field:
        _prepare(order, field, checks, progress)
        field.rest()
        floors = _floor(order, field, folder, progress)
        rounds = _rounds(order, field, asked, progress)
        many = _many(order, field, writer, rounds, progress) if order.is_saturated else {}
        floors += _floor(order, field, folder, progress) if floors else []
        field.weigh()
    return Report(
        model=order.model,
        machine=describe(gpu=gpu.name if gpu else None, program="python -m benchmarks"),
        reference=order.reference,
        entries=list(field.entries.values()),
        rounds=rounds,
        many=many,
        floors=floors,
        num_checked=sum(len(check.documents) for check in checks),
        seed=order.seed,
    )


def _say_left_out(progress: Progress, why: str) -> None:
    progress.console.print(f"[yellow]left out:[/] {escape(why)}")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: the contenders end with us, even one that hangs and does not see its input close."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _requests(order: RunSpec, encoder: QwenEncoder, writer: RequestWriter) -> Mapping[str, Sequence[Asked]]:
    """Write one request for every round of every load, and count what it costs."""
    return {
        load.name: [
            (request, work_of(encoder, request))
            for number in range(order.repeats + WARM_UPS)
            for request in [writer.request(load, f"{order.seed}-{load.name}-{number}")]
        ]
        for load in order.loads
    }


def _prepare(order: RunSpec, field: Field, checks: Sequence[LoadRequest], progress: Progress) -> None:
    starting = progress.add_task("starting", total=len(order.contenders), name="")
    field.start(partial(_tick, progress, starting))
    checking = progress.add_task("checking scores", total=len(field.names), name="")
    field.check(checks, partial(_tick, progress, checking))


def _rounds(
    order: RunSpec, field: Field, asked: Mapping[str, Sequence[Asked]], progress: Progress
) -> Mapping[str, Sequence[Round]]:
    """Play all rounds and return those that count, for every load."""
    draw = Random(order.seed)
    bar = progress.add_task("warming up", total=(WARM_UPS + order.repeats * len(asked)) * len(field.names), name="")
    tick = partial(_tick, progress, bar)
    for request, _ in next(iter(asked.values()))[:WARM_UPS]:
        field.play(request, draw, tick)
    played: dict[str, list[Round]] = {name: [] for name in asked}
    for number in range(order.repeats):
        for name, requests in asked.items():
            request, work = requests[WARM_UPS + number]
            progress.update(bar, description=f"round {number + 1} of {order.repeats}, {name}")
            played[name].append(Round(work=work, seconds=field.play(request, draw, tick)))
    return played


def _many(
    order: RunSpec, field: Field, writer: RequestWriter, rounds: Mapping[str, Sequence[Round]], progress: Progress
) -> Mapping[str, Mapping[str, Many]]:
    """Ask everyone many requests at once, and return what came of it, for every load.

    How many follows from how fast each of them is; what they have in common are the same requests.
    """
    draw = Random(order.seed)
    bar = progress.add_task("at once", total=len(order.loads) * (TURNS + 1) * len(field.names), name="")
    tick = partial(_tick, progress, bar)
    found: dict[str, Mapping[str, Many]] = {}
    for load in order.loads:

        def written(turn: str, counts: Mapping[str, int], load: BenchLoad = load) -> Mapping[str, Sequence[LoadRequest]]:
            most = max(counts.values(), default=0)
            requests = [writer.request(load, f"{order.seed}-{load.name}-{turn}-{number}") for number in range(most)]
            return {name: requests[:count] for name, count in counts.items()}

        progress.update(bar, description=f"{load.name} at once")
        alone_s = {name: median(each.seconds[name] for each in rounds[load.name]) for name in field.names}
        counts = {name: turn_requests(alone_s[name], field.at_once(name)) for name in field.names}
        turns = [field.fill(written(f"turn{turn}", counts), draw, tick) for turn in range(TURNS)]
        rates = {name: [turn[name] for turn in turns] for name in field.names}
        per_s = {name: median(each) / load.num_documents for name, each in rates.items()}
        late = field.trickle(written("late", {name: late_requests(each) for name, each in per_s.items()}), per_s, draw, tick)
        found[load.name] = {
            name: Many(at_once=field.at_once(name), documents_per_s=rates[name], answer_s=seconds)
            for name, seconds in late.items()
        }
    return found


def _tick(progress: Progress, bar: TaskID, name: str) -> None:
    progress.update(bar, advance=1, name=name)


def _floor(order: RunSpec, field: Field, folder: Path, progress: Progress) -> list[Floor]:
    """Measure the floor while everyone is idle; a run without one is still a run."""
    ready = field.entries[OURS].ready
    if order.floor is None or ready is None:
        return []
    dtype = ready.dtype if ready.dtype in {"float32", "bfloat16", "float16"} else "bfloat16"
    try:
        return [measure([*order.floor, str(folder), "--dtype", dtype, "--device", order.device])]
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
