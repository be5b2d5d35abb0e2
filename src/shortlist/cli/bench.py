"""`shortlist bench load`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import typer

from shortlist.bench.traffic import load as traffic
from shortlist.bench.traffic.flags import EPILOG as LOAD_EPILOG
from shortlist.bench.traffic.flags import FLAGS, outputs_of, plan_of
from shortlist.cli import flags
from shortlist.cli.ending import end

app = typer.Typer(help="Put servers under load, side by side.", no_args_is_help=True, add_completion=False)


@app.callback()
def _bench() -> None:
    """Put servers under load, side by side."""


def _bench_load(url: str, **given: object) -> None:
    """Put servers under load: how many requests they answer, how fast, and what becomes of every one of them.

    URL is any server that speaks one of the dialects below. Several are asked in turn, one at a time.

    Requests are new texts every time, so that no cache can help unless --seen lets it.

    Ask from another machine than the server's, or remember that asking takes its share; the report says how much.
    """
    end(lambda: traffic.run(plan_of(url, given), outputs_of(given)))


def _load_parameters() -> Iterator[inspect.Parameter]:
    yield flags.argument("url", str, typer.Argument(metavar="[NAME=]URL", help="A server, such as ours=http://localhost:8080."))
    for flag in FLAGS:
        shown = typer.Option(f"--{flag.name.replace('_', '-')}", metavar=flag.metavar, help=flag.help)
        yield flags.option(flag.name, flag.kind, shown, flag.default)


flags.command(_bench_load, _load_parameters(), epilog=LOAD_EPILOG, to=app, name="load")
