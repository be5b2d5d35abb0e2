"""`shortlist bench load`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shortlist.bench.dialects import DIALECTS
from shortlist.bench.outputs import Outputs
from shortlist.bench.plan import DEFAULT_USERS, Level, LoadPlan
from shortlist.bench.target import targets
from shortlist.cli.exit_codes import run_to_exit
from shortlist.config import Settings
from shortlist.errors import BadSetting
from shortlist.installation import install_hint

EPILOG = (
    f"Dialects: {'; '.join(f'{each.name} ({each.speakers})' for each in DIALECTS.values())}. Without --api-key, URL is sent "
    "the first key of SHORTLIST_API_KEY, and other contenders get none. Exit codes: 0 every request was answered or refused "
    "with 429, 1 some were not, or an answer was wrong (see the report), 3 the run cannot start. Ctrl-C ends the run and "
    "reports the measurements so far."
)

USERS_HELP = (
    "A level: this many users, each waiting for an answer before its next request. "
    f"{', '.join(map(str, DEFAULT_USERS))} without --users and --rate."
)

RATE_HELP = "A level: this many requests per second on a fixed schedule, independent of the answers."

app = typer.Typer(help="Put servers under load, side by side.", no_args_is_help=True, add_completion=False)


@app.callback()
def _bench() -> None:
    pass  # without a callback, typer drops the name `load` of a single command


@app.command("load", epilog=EPILOG)
def _bench_load(  # noqa: PLR0913 - one parameter per flag
    url: Annotated[str, typer.Argument(metavar="[NAME=]URL", help="A server, such as ours=http://localhost:8080.")],
    *,
    contender: Annotated[list[str] | None, typer.Option(metavar="NAME=URL", help="Another server, to compare.")] = None,
    users: Annotated[list[int] | None, typer.Option(help=USERS_HELP)] = None,
    rate: Annotated[list[float] | None, typer.Option(help=RATE_HELP)] = None,
    duration: Annotated[float, typer.Option(help="Seconds of measurement per level.")] = LoadPlan.duration_s,
    warm_up: Annotated[
        float, typer.Option(help="Seconds of warm-up before; longer until every user has an answer.")
    ] = LoadPlan.warm_up_s,
    repeats: Annotated[int, typer.Option(help="Rounds over all levels.")] = LoadPlan.repeats,
    documents: Annotated[int, typer.Option(help="Documents per request.")] = LoadPlan.num_documents,
    words: Annotated[int, typer.Option(help="Words per document.")] = LoadPlan.num_words,
    seen: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of repeated requests, to measure caches; 0 to 1.")
    ] = LoadPlan.seen_share,
    dialect: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIALECT", help="Dialect of all servers, or of one; default rerank."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="[NAME=]MODEL", help="Model name in the requests.")] = None,
    api_key: Annotated[list[str] | None, typer.Option(metavar="[NAME=]KEY", help="API key of the requests.")] = None,
    check: Annotated[
        int,
        typer.Option(
            metavar="NUMBER", help="Repeat the documents of this many answers per level, one per request, and compare."
        ),
    ] = LoadPlan.num_checked,
    tolerance: Annotated[float, typer.Option(help="Maximum difference of the compared numbers.")] = LoadPlan.tolerance,
    within: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Also count answers within this many seconds; drawn as a line.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Timeout of a request in seconds.")] = LoadPlan.timeout_s,
    seed: Annotated[int, typer.Option(help="Seed of the texts, arrivals and orders.")] = LoadPlan.seed,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all measurements.")] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE[#NAME]", help="Write the tables; between the markers (of that name), if the file has them."),
    ] = None,
    plot: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.png|FILE.html", help="Draw the curves: an image, or a page with the tables."),
    ] = None,
) -> None:
    """Put servers under load: how many requests they answer, how fast, and the outcome of each.

    URL is any server with one of the dialects below. Several servers are measured in turn, one at a time.

    Every request has new texts, so caches have no effect without --seen.

    Run it on another machine than the server's: the load generator uses CPU time too, which the report shows.
    """
    given = dict(locals())
    run_to_exit(lambda: _run(**given))


def _run(url: str, **given: Any) -> int:
    own = Settings.load().server.api_key
    named = {name: given[name] or () for name in ("dialect", "model", "api_key")}
    levels = [*map(Level.of_users, given["users"] or ()), *map(Level.of_rate, given["rate"] or ())]
    plan = LoadPlan(
        targets=targets([url, *(given["contender"] or ())], **named, own_key=own[0].get_secret_value() if own else None),
        levels=list(dict.fromkeys(levels)) or list(map(Level.of_users, DEFAULT_USERS)),
        duration_s=given["duration"],
        warm_up_s=given["warm_up"],
        num_documents=given["documents"],
        num_words=given["words"],
        seen_share=given["seen"],
        num_checked=given["check"],
        within_s=given["within"],
        timeout_s=given["timeout"],
        **{name: given[name] for name in ("repeats", "tolerance", "seed")},
    )
    outputs = Outputs.drawing(given["plot"] or (), json=given["json"], markdown=given["markdown"])
    try:
        from shortlist.bench import run
    except ModuleNotFoundError as error:
        raise BadSetting(f"bench load needs {error.name}, which is not installed: {install_hint('bench')}") from None
    return run.run(plan, outputs)
