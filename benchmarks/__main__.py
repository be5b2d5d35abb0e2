"""`python -m benchmarks MODEL`: engines side by side on this machine, from the root of the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.engines import run
from benchmarks.engines.memory import CPU
from benchmarks.engines.process import Spec
from benchmarks.engines.roofline import FLOOR_COMMAND
from benchmarks.engines.saturation import SHARE
from benchmarks.engines.spec import GPU_MODEL_LEN, MAX_RMS, REPEATS, RunSpec, SpecBounds, ours, reference_among
from benchmarks.loads import DEFAULT_LOADS, GPU_LOADS, BenchLoad
from shortlist.bench.outputs import Outputs
from shortlist.cli.exit_codes import run_to_exit

EPILOG = (
    "A contender is any program that speaks lines of JSON: once {'ready': true, 'name': ..., 'version': ..., 'dtype': ...}, "
    "then {'scores': [...]} for every {'query': ..., 'documents': [...]}, in their order. With 'at_once': N in the first line, "
    "--saturate has N requests under way. MODEL's folder is appended to its command; so are "
    "--threads, --device and --max-model-len, where they are given here or follow from --device cuda. Our server over HTTP is "
    "one: --contender http='python -m benchmarks.engines.http'. Exit codes: 0 every contender is ranked, 1 some are not (the "
    "report says why), 3 it cannot run."
)

LOAD_HELP = (
    "What to ask: DOCUMENTSxTOKENS, or mixed for lengths as they come; "
    f"{', '.join(DEFAULT_LOADS)} if not given, on a GPU {', '.join(GPU_LOADS)}."
)

MAX_RMS_HELP = (
    f"How far scores may be from the reference's, as RMS in log-odds; {MAX_RMS} if not given. With NAME, for that contender "
    "alone."
)

SATURATE_HELP = f"Also ask as many at once as each likes: documents/s, and p99 when {SHARE:.0%} of them arrive at random."

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.command(epilog=EPILOG)
def compare(  # noqa: PLR0913 - one parameter per flag
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A reranker: a folder, a Hugging Face id, or modelscope:ID.")],
    *,
    load: Annotated[list[str] | None, typer.Option(help=LOAD_HELP)] = None,
    contender: Annotated[list[str] | None, typer.Option(metavar="NAME='COMMAND ...'", help="Whom to ask beside ours.")] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose scores are the truth: official if it takes part, else ours.")
    ] = None,
    max_rms: Annotated[list[str] | None, typer.Option(metavar="[NAME=]NUMBER", help=MAX_RMS_HELP)] = None,
    check_only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Compare this one's scores, but do not time it.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of every load, after a first one that warms up.")] = REPEATS,
    saturate: Annotated[bool, typer.Option("--saturate/--no-saturate", help=SATURATE_HELP)] = False,
    dtype: Annotated[str | None, typer.Option(help="What ours computes in; as when serving if not given.")] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where all compute, one after another: cpu, cuda or cuda:N.")
    ] = CPU,
    max_model_len: Annotated[
        int | None,
        typer.Option(min=1, help=f"Longest prompt in tokens, for all; as when serving if not given, on a GPU {GPU_MODEL_LEN}."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads for each; as many as each likes if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Another number draws other texts and another order.")] = 0,
    floor: Annotated[bool, typer.Option("--floor/--no-floor", help="Measure what the arithmetic alone would take.")] = True,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write everything that was measured.")] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE[#NAME]", help="Write the tables, between the markers (of that name) if the file has them."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw a bar chart.")] = None,
) -> None:
    """Compare engines: whether they give the same scores, how fast they are, how much memory they need.

    All are started and stay up. Scores come first: a target too far from the reference is left out.

    Then rounds: each answers the same new request, in a new random order, and the ratio within a round is what counts.

    Use a machine that has nothing else to do, with enough memory for all models at once.
    """

    def start() -> int:
        field = (ours(dtype), *map(Spec.parse, contender or []))
        usual, longest = (DEFAULT_LOADS, None) if device == CPU else (GPU_LOADS, GPU_MODEL_LEN)
        order = RunSpec(
            model=model,
            loads=list(map(BenchLoad.parse, dict.fromkeys(load or usual))),
            contenders=field,
            reference=reference_among(field, reference),
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
        return run.run(order, Outputs(json=json, markdown=markdown, plot=plot))

    run_to_exit(start)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
