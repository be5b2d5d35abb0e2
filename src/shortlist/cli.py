"""The command line: `shortlist serve`, `shortlist demo`, `shortlist doctor`, `shortlist bench`.

Every setting is a flag, made from its definition in `config`, so that flag, environment variable, file key and help text
cannot drift apart. Exit codes: 0 stopped as asked, 1 the engine died while serving, 2 wrong usage, 3 cannot start. Of
`doctor`: 0 the model, or the server, passed, 1 it failed, 2 wrong usage, 3 it cannot be loaded or reached. Of `bench engine`:
0 every contender is ranked, 1 some are not, 2 wrong usage, 3 it cannot run. Of `bench load`: 0 every request was answered or
refused with 429, 1 some were not, 2 wrong usage, 3 it cannot run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.text import Text

from shortlist import __version__, demo, doctor, server
from shortlist.bench import engine
from shortlist.bench.contender import Spec
from shortlist.bench.floor import FLOOR_COMMAND
from shortlist.bench.loads import DEFAULT_LOADS, Load
from shortlist.bench.order import MAX_RMS, REPEATS, Bounds, Order, ours, reference_among
from shortlist.bench.outputs import Outputs
from shortlist.bench.traffic import load as traffic
from shortlist.bench.traffic.flags import EPILOG as LOAD_EPILOG
from shortlist.bench.traffic.flags import FLAGS, outputs_of, plan_of
from shortlist.config import Settings, fields
from shortlist.errors import ServiceError
from shortlist.logs import standard_error
from shortlist.types import Task

EXIT_CANNOT_START = 3

DOCTOR_SETTINGS = frozenset(
    {"revision", "dtype", "device", "max_model_len", "control_tokens", "random_weights", "max_batch_tokens"}
)
"""What `doctor` can be told beside which model; everything else about a server does not change a model."""

PANELS = {"model": "Models", "vllm": "vLLM", "scheduler": "Scheduler", "server": "Server"}

EPILOG = (
    "Every flag is also an environment variable (--max-batch-tokens is SHORTLIST_MAX_BATCH_TOKENS) and a key of the file "
    "given with --config (max_batch_tokens). Flags win over the environment, the environment over the file."
)

app = typer.Typer(
    name="shortlist",
    help="Turn a long list of candidates into a short one: a reranking and embedding server.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


BENCH_EPILOG = (
    "A contender is any program that speaks lines of JSON: once {'ready': true, 'name': ..., 'version': ..., 'dtype': ...}, "
    "then {'scores': [...]} for every {'query': ..., 'documents': [...]}. MODEL's folder and --threads are appended to its "
    "command. Our server over HTTP is one: --contender http='python -m shortlist.bench.http'. Exit codes: 0 every contender "
    "is ranked, 1 some are not (the report says why), 3 it cannot run."
)

bench = typer.Typer(name="bench", help="Measure engines, and servers, side by side.", no_args_is_help=True)
app.add_typer(bench)


def main() -> None:
    """Run the command line."""
    app()


def _serve(**flags: object) -> None:
    """Serve one or several models over HTTP.

    MODEL is a folder, a Hugging Face id, modelscope:ID, or demo (a small bundled model; the default). A reranker and an
    embedder side by side is the normal case: shortlist serve Qwen/Qwen3-Reranker-0.6B Qwen/Qwen3-Embedding-0.6B
    """
    _run(lambda: server.run(Settings.load(flags)))


def _demo(**flags: object) -> None:
    """Serve the bundled demo model, and show a first ranking in the terminal."""
    _run(lambda: _serve_and_show(Settings.load(flags)))


def _serve_and_show(settings: Settings) -> int:
    key = next((key.get_secret_value() for key in settings.server.api_key), None)
    return server.run(settings, when_ready=partial(demo.show, api_key=key))


def _doctor(
    model: str, *, reranker: bool | None = None, client: str | None = None, api_key: str | None = None, **flags: object
) -> None:
    """Say what a model is, show its prompt, and test it, as serving it would; or say how a client gets on with a server.

    MODEL is a folder, a Hugging Face id, modelscope:ID, or demo. With --client NAME it is the address of a server
    (http://localhost:8080), which is asked what that client asks. Exit codes: 0 it passed, 1 it failed, 3 it cannot be
    loaded or reached.
    """
    if client is not None:
        _run(lambda: doctor.client.run(model, client, api_key=api_key))
    declared = {None: None, True: Task.RERANK, False: Task.EMBED}[reranker]
    _run(lambda: doctor.model.run(model, declared, Settings.load(flags)))


@bench.command("engine", epilog=BENCH_EPILOG)
def _bench_engine(  # noqa: PLR0913 - one parameter per flag
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A reranker: a folder, a Hugging Face id, or modelscope:ID.")],
    *,
    load: Annotated[
        list[str], typer.Option(help="What to ask: DOCUMENTSxTOKENS, or mixed for lengths as they come.", show_default=True)
    ] = list(DEFAULT_LOADS),  # noqa: B006 - typer copies it
    contender: Annotated[list[str] | None, typer.Option(metavar="NAME='COMMAND ...'", help="Whom to ask beside ours.")] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose scores are the truth: official if it takes part, else ours.")
    ] = None,
    max_rms: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]NUMBER",
            help=f"How far scores may be from the reference's, as RMS in log-odds; {MAX_RMS} if not given. With NAME, for that "
            "contender alone.",
        ),
    ] = None,
    check_only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Compare this one's scores, but do not time it.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of every load, after a first one that warms up.")] = REPEATS,
    dtype: Annotated[str | None, typer.Option(help="What ours computes in; as when serving if not given.")] = None,
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

    All are started and stay up. Scores come first: whoever is too far from the reference is left out.

    Then rounds: each answers the same new request, in an order drawn anew, and the ratio within a round is what counts.

    Use a machine that has nothing else to do, with room for all models at once.
    """

    def start() -> int:
        field = (ours(dtype), *map(Spec.parse, contender or []))
        order = Order(
            model=model,
            loads=list(map(Load.parse, dict.fromkeys(load))),
            contenders=field,
            reference=reference_among(field, reference),
            bounds=Bounds.parse(max_rms or []),
            check_only=check_only or (),
            repeats=repeats,
            threads=threads,
            seed=seed,
            floor=FLOOR_COMMAND if floor else None,
        )
        return engine.run(order, Outputs(json=json, markdown=markdown, plot=plot))

    _run(start)


def _bench_load(url: str, **given: object) -> None:
    """Put servers under load: how many requests they answer, how fast, and what becomes of every one of them.

    URL is any server that speaks one of the dialects below. Several are asked in turn, one at a time.

    Requests are new texts every time, so that no cache can help unless --seen lets it.

    Ask from another machine than the server's, or remember that asking takes its share; the report says how much.
    """
    _run(lambda: traffic.run(plan_of(url, given), outputs_of(given)))


def _version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    del version  # answered by its callback


def _run(start: Callable[[], int]) -> None:
    """Run a server; an error that says why it cannot start is one line, not a traceback."""
    try:
        code = start()
    except ServiceError as error:
        Console(file=standard_error(), soft_wrap=True).print(Text.assemble(("error:", "bold red"), f" {error.message}"))
        code = EXIT_CANNOT_START
    raise typer.Exit(code)


def _serve_parameters() -> Iterator[inspect.Parameter]:
    for group, name, field in fields():
        yield _parameter(name, field, PANELS[group])
    yield _config_parameter()


def _doctor_parameters() -> Iterator[inspect.Parameter]:
    model = typer.Argument(metavar="MODEL|URL", help="A folder, a Hugging Face id, modelscope:ID, or demo; or a server.")
    yield inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[str, model])
    kind = typer.Option("--reranker/--embedder", help="What it is for, where its files do not say.", show_default=False)
    yield inspect.Parameter("reranker", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[bool | None, kind])
    named = typer.Option("--client", metavar="NAME", help="Ask the server at URL what this client asks: dify, ragflow, ...")
    yield inspect.Parameter("client", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, named])
    key = typer.Option("--api-key", help="The key of that server.")
    yield inspect.Parameter("api_key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, key])
    for group, name, field in fields():
        if name in DOCTOR_SETTINGS:
            yield _parameter(name, field, PANELS[group])
    yield _config_parameter()


def _load_parameters() -> Iterator[inspect.Parameter]:
    url = typer.Argument(metavar="[NAME=]URL", help="A server, such as ours=http://localhost:8080.")
    yield inspect.Parameter("url", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[str, url])
    for flag in FLAGS:
        option = typer.Option(f"--{flag.name.replace('_', '-')}", metavar=flag.metavar, help=flag.help)
        kind: Any = flag.kind
        read = Annotated[kind, option]
        yield inspect.Parameter(flag.name, inspect.Parameter.KEYWORD_ONLY, default=flag.default, annotation=read)


def _config_parameter() -> inspect.Parameter:
    config = typer.Option("--config", help="A TOML file with settings.", rich_help_panel="Server")
    return inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, config])


def _parameter(name: str, field: FieldInfo, panel: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    help_text = field.description or ""
    kind = _flag_type(field.annotation)
    option: Any
    if name == "models":
        option = typer.Argument(metavar="[MODEL]...", help=help_text, show_default=False)
    else:
        flag = f"{flag}/--no-{name.replace('_', '-')}" if kind is bool else flag
        option = typer.Option(flag, help=help_text, rich_help_panel=panel, show_default=_shown(field.default))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])


def _flag_type(annotation: object) -> Any:
    """Return the type by which the command line reads a setting of this type."""
    if get_origin(annotation) is tuple:
        return list[str]
    if get_origin(annotation) is Literal or annotation in {bool, int, float, str}:
        return annotation
    kind = next(arg for arg in get_args(annotation) if arg is not type(None))
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return str if kind is SecretStr else kind


def _shown(default: object) -> str | Literal[False]:
    return False if default is None or default == () else str(default)


def _register(
    name: str, function: Callable[..., None], made: Iterator[inspect.Parameter], *, to: typer.Typer = app, epilog: str = EPILOG
) -> None:
    parameters = list(made)
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    to.command(name, epilog=epilog)(function)


_register("serve", _serve, _serve_parameters())
_register("demo", _demo, _serve_parameters())
_register("doctor", _doctor, _doctor_parameters())
_register("load", _bench_load, _load_parameters(), to=bench, epilog=LOAD_EPILOG)
