"""`shortlist serve` and `shortlist demo`."""

from __future__ import annotations

from functools import partial

import typer

from shortlist import gc_pause
from shortlist.cli import flags
from shortlist.cli.exit_codes import run_to_exit
from shortlist.cli.foreign_flags import ServeCommand
from shortlist.config import Settings

serve = typer.Typer(add_completion=False)
demo = typer.Typer(add_completion=False)


def _serve(**given: object) -> None:
    """Serve one or several models over HTTP.

    MODEL is a folder, a Hugging Face id, modelscope:ID, or demo (a small bundled model; the default). A typical
    server has a reranker and an embedder: shortlist serve Qwen/Qwen3-Reranker-0.6B Qwen/Qwen3-Embedding-0.6B
    """
    with gc_pause.paused_during_start():
        from shortlist import server

        run_to_exit(lambda: server.run(Settings.load(given)))


def _demo(**given: object) -> None:
    """Serve the bundled demo model, and show a first ranking in the terminal."""
    with gc_pause.paused_during_start():
        run_to_exit(lambda: _serve_and_show(Settings.load(given)))


def _serve_and_show(settings: Settings) -> int:
    from shortlist import demo, server
    from shortlist.api.api_keys import Role, sent_key

    key = sent_key((key.get_secret_value() for key in settings.server.api_key), Role.WRITE)
    return server.run(settings, when_ready=partial(demo.show, api_key=key))


flags.command(_serve, flags.settings(), epilog=flags.EPILOG, to=serve, name="serve", cls=ServeCommand)
flags.command(_demo, flags.settings(), epilog=flags.EPILOG, to=demo, name="demo")
