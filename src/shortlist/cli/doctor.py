"""`shortlist doctor`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

import typer

from shortlist.cli import flags
from shortlist.cli.exit_codes import run_to_exit
from shortlist.config import Settings
from shortlist.types import EMBED, RERANK

EPILOG: Final = (
    "Examples:\n\n"
    "shortlist doctor demo\n\n"
    "shortlist doctor ./my-model --reranker --dtype float32\n\n"
    "shortlist doctor http://localhost:8080 --client dify\n\n"
) + flags.EPILOG

app = typer.Typer(add_completion=False)


def _doctor(
    model: str, *, reranker: bool | None = None, client: str | None = None, api_key: str | None = None, **given: object
) -> None:
    """Diagnose a model, or check a server for one client.

    MODEL is a folder, a Hugging Face id, modelscope:ID, or demo: shows its prompt and runs the self-test of serving. With
    --client NAME it is the address of a server (http://localhost:8080), which gets the requests of that client. Exit
    codes: 0 passed, 1 failed, 3 the model cannot be loaded, or the server cannot be reached.
    """
    from shortlist import doctor

    if client is not None:
        run_to_exit(lambda: doctor.client_check.run(model, client, api_key=api_key))
    declared = {None: None, True: RERANK, False: EMBED}[reranker]
    run_to_exit(lambda: doctor.model.run(model, declared, Settings.load(given)))


def _parameters() -> Iterator[inspect.Parameter]:
    model = typer.Argument(metavar="MODEL|URL", help="A folder, a Hugging Face id, modelscope:ID, or demo; or a server URL.")
    yield flags.argument("model", str, model)
    kind = typer.Option("--reranker/--embedder", help="The task, if the files do not state it.", show_default=False)
    yield flags.option("reranker", bool | None, kind)
    named = typer.Option("--client", metavar="NAME", help="Send the requests of this client to URL: dify, ragflow, ...")
    yield flags.option("client", str | None, named)
    yield flags.option("api_key", str | None, typer.Option("--api-key", help="The API key of that server."))
    yield from flags.settings(flags.MODEL_SETTINGS)


flags.command(_doctor, _parameters(), epilog=EPILOG, to=app, name="doctor")
