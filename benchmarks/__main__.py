"""`python -m benchmarks MODEL` compares engines on this machine; run it from the root of the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.engines import run
from benchmarks.engines.memory import CPU
from benchmarks.engines.process import Spec
from benchmarks.engines.roofline import FLOOR_COMMAND
from benchmarks.engines.saturation import LOAD_SHARE
from benchmarks.engines.spec import GPU_MODEL_LEN, MAX_RMS, REPEATS, RunSpec, SpecBounds, builtin_contender, reference_name
from benchmarks.loads import DEFAULT_LOADS, GPU_LOADS, BenchLoad
from shortlist.bench.outputs import Outputs
from shortlist.cli.exit_codes import run_to_exit

EPILOG = (
    "A contender is a program that writes JSON lines: once {'ready': true, 'name': ..., 'version': ..., 'dtype': ...}, "
    "then {'scores': [...]} for every {'query': ..., 'documents': [...]}, in request order. With 'at_once': N in the first "
    "line, --saturate keeps N requests in flight. The command gets the model folder as an argument, and "
    "--threads, --device and --max-model-len if they are set here or follow from --device cuda. For Shortlist's HTTP server: "
    "--contender http='python -m benchmarks.engines.http'. Exit codes: 0 every contender is ranked, 1 some are not (the "
    "report gives the reasons), 3 the run failed."
)

LOAD_HELP = (
    "Request size: DOCUMENTSxTOKENS, or mixed for documents of different lengths. "
    f"Default: {', '.join(DEFAULT_LOADS)}; on a GPU: {', '.join(GPU_LOADS)}."
)

MAX_RMS_HELP = (
    f"Largest allowed RMS difference from the reference scores, in log-odds. Default: {MAX_RMS}. With NAME, for one contender "
    "only."
)

SATURATE_HELP = (
    f"Also measure documents/s with concurrent requests, and p99 with random arrivals at {LOAD_SHARE:.0%} of that rate."
)

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.command(epilog=EPILOG)
def compare(  # noqa: PLR0913 - one parameter per flag
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A reranker: a folder, a Hugging Face id, or modelscope:ID.")],
    *,
    load: Annotated[list[str] | None, typer.Option(help=LOAD_HELP)] = None,
    contender: Annotated[
        list[str] | None, typer.Option(metavar="NAME='COMMAND ...'", help="Another engine to compare.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Contender with the reference scores. Default: official if present, else ours."),
    ] = None,
    max_rms: Annotated[list[str] | None, typer.Option(metavar="[NAME=]NUMBER", help=MAX_RMS_HELP)] = None,
    check_only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Compare the scores of this contender, but do not time it.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of every load, after a warm-up round.")] = REPEATS,
    saturate: Annotated[bool, typer.Option("--saturate/--no-saturate", help=SATURATE_HELP)] = False,
    dtype: Annotated[str | None, typer.Option(help="Dtype of Shortlist's engine. Default: as in shortlist serve.")] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Device of all contenders, which run one at a time: cpu, cuda or cuda:N.")
    ] = CPU,
    max_model_len: Annotated[
        int | None,
        typer.Option(min=1, help=f"Longest prompt in tokens. Default: as in shortlist serve; on a GPU: {GPU_MODEL_LEN}."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each contender. Default: the contender's own.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the texts and of the order.")] = 0,
    floor: Annotated[bool, typer.Option("--floor/--no-floor", help="Measure the time that the arithmetic alone takes.")] = True,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all measurements.")] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE[#NAME]", help="Write the tables; an existing file needs the markers (of that name)."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw a bar chart.")] = None,
) -> None:
    """Compare the scores, the speed and the memory of engines.

    All contenders start first and keep running. A contender whose scores are too far from the reference is left out.

    In every round, each contender answers the same new request, in a new random order. Ratios are taken within a round.

    Use an idle machine with enough memory for all models at once.
    """

    def start() -> int:
        contenders = (builtin_contender(dtype), *map(Spec.parse, contender or []))
        default_loads, longest = (DEFAULT_LOADS, None) if device == CPU else (GPU_LOADS, GPU_MODEL_LEN)
        run_spec = RunSpec(
            model=model,
            loads=list(map(BenchLoad.parse, dict.fromkeys(load or default_loads))),
            contenders=contenders,
            reference=reference_name(contenders, reference),
            bounds=SpecBounds.parse(max_rms or []),
            check_only=check_only or (),
            repeats=repeats,
            is_saturated=saturate,
            threads=threads,
            device=device,
            max_model_len=max_model_len or longest,
            seed=seed,
            floor=FLOOR_COMMAND if floor else None,
        )
        return run.run(run_spec, Outputs(json=json, markdown=markdown, plot=plot))

    run_to_exit(start)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
