"""`shortlist models`: list, download, where, size, remove."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shortlist.cli.exit_codes import EXIT_DONE, EXIT_PARTLY, print_error, print_message, run_to_exit
from shortlist.cli.output import is_on_terminal, to_output
from shortlist.errors import InvalidInput
from shortlist.hub import local_cache
from shortlist.hub.local_cache import Cached
from shortlist.models import resolve
from shortlist.models.registry import operations_of
from shortlist.types import EMBED, RERANK, operation_names

EPILOG: Final = (
    "Examples:\n\n"
    "shortlist models download Qwen/Qwen3-Reranker-0.6B\n\n"
    "shortlist models list\n\n"
    "du -h $(shortlist models where Qwen/Qwen3-Reranker-0.6B)/\n\n"
    "Models are in the hubs' caches: HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, MODELSCOPE_CACHE and similar settings "
    "apply. Exit codes: 0 done, 1 the model is not on this machine, or nothing was deleted, 2 invalid usage, 3 the model "
    "cannot be downloaded."
)

app = typer.Typer(
    help="List, download, find, measure and remove models on this machine.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face id, modelscope:ID, a folder, or demo.")]


@app.command("list")
def _list() -> None:
    """List the models on this machine: a table on a terminal, JSON lines elsewhere."""
    run_to_exit(_show_all)


@app.command("download")
def _download(
    model: Model,
    *,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit.", show_default=False)] = None,
    reranker: Annotated[
        bool | None,
        typer.Option("--reranker/--embedder", help="The task, if the files do not state it.", show_default=False),
    ] = None,
) -> None:
    """Download a model, verify its files, and print its folder."""
    declared = {None: None, True: RERANK, False: EMBED}[reranker]

    def download() -> int:
        found = resolve(model, declared=declared, revision=revision)
        print_message(f"{found.name}: {found.family.name} ({found.why}), {_shown(found.size_bytes)}")
        return _print(str(found.path))

    run_to_exit(download)


@app.command("where")
def _where(model: Model) -> None:
    """Print the folder of a model."""
    run_to_exit(lambda: _print_of(model, lambda found: str(found.path)))


@app.command("size")
def _size(model: Model) -> None:
    """Print the size of a model on disk, all revisions included: with units on a terminal, in bytes elsewhere."""
    run_to_exit(lambda: _print_of(model, lambda found: _shown(found.size_bytes) if is_on_terminal() else str(found.size_bytes)))


@app.command("remove")
def _remove(
    model: Model, *, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not confirm.", show_default=False)] = False
) -> None:
    """Delete all revisions of a model from its hub's cache."""

    def delete() -> int:
        found = local_cache.find(model)
        if found is None:
            return _not_found(model)
        if not yes and not _is_confirmed(found):
            return EXIT_PARTLY
        local_cache.remove(found)
        print_message(f"{found.reference.text} is deleted: {_shown(found.size_bytes)}.")
        return EXIT_DONE

    run_to_exit(delete)


def _is_confirmed(found: Cached) -> bool:
    if not sys.stdin.isatty():
        raise InvalidInput("There is no terminal to confirm on; --yes deletes without confirmation.")
    return typer.confirm(f"Delete {found.reference.text}, {_shown(found.size_bytes)}?", err=True)


def _print_of(model: str, what: Callable[[Cached], str]) -> int:
    found = local_cache.find(model)
    return _not_found(model) if found is None else _print(what(found))


def _not_found(model: str) -> int:
    print_error(f"{model} is not on this machine; shortlist models download gets it from a hub.")
    return EXIT_PARTLY


def _print(line: str) -> int:
    to_output().write(f"{line}\n".encode())
    to_output().flush()
    return EXIT_DONE


def _show_all() -> int:
    found = local_cache.cached()
    if is_on_terminal():
        Console(highlight=False).print(_table(found))
        return EXIT_DONE
    to_output().writelines(orjson.dumps(_record(each), option=orjson.OPT_APPEND_NEWLINE) for each in found)
    to_output().flush()
    return EXIT_DONE


def _table(found: Iterable[Cached]) -> Table:
    shown = Table(box=None, pad_edge=False)
    shown.add_column("model", no_wrap=True)
    shown.add_column("for")
    shown.add_column("size", justify="right", no_wrap=True)
    shown.add_column("where", overflow="fold")
    for each in found:
        names = operation_names(operations_of(each))
        tasks = Text(", ".join(names)) if names else Text("cannot be served", style="dim")
        shown.add_row(Text(each.reference.text), tasks, _shown(each.size_bytes), Text(str(each.path)))
    return shown


def _record(each: Cached) -> dict[str, object]:
    return {
        "model": each.reference.text,
        "source": each.reference.source,
        "tasks": operation_names(operations_of(each)),
        "size_bytes": each.size_bytes,
        "path": str(each.path),
    }


def _shown(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
