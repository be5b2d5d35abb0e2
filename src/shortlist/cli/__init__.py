"""The command line: `shortlist serve`, `worker`, `jobs`, `demo`, `rerank`, `embed`, `models`, `doctor`, `bench`.

Each command's module is imported on demand: `shortlist --help` and shell completion answer at once, and a server starts without
the benchmark's imports. `exit_codes` and docs/cli.md list the exit codes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from shortlist import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = {
    "serve": ("shortlist.cli.serve", "serve", "Serve one or several models over HTTP."),
    "worker": ("shortlist.cli.jobs_worker", "app", "Work on durable jobs for a server."),
    "jobs": ("shortlist.cli.jobs_command", "app", "List, show, follow and cancel jobs and batches of a server."),
    "demo": ("shortlist.cli.serve", "demo", "Serve the bundled demo model, and show a first ranking in the terminal."),
    "rerank": ("shortlist.cli.rerank", "app", "Rank documents for a query, or for every query of a file."),
    "embed": ("shortlist.cli.embed", "app", "Embed texts."),
    "models": ("shortlist.cli.models", "app", "List, download, find, measure and remove models on this machine."),
    "health": ("shortlist.cli.health", "app", "Ask a server whether it is ready."),
    "doctor": ("shortlist.cli.doctor", "app", "Diagnose a model, or check a server for one client."),
    "bench": ("shortlist.cli.bench", "app", "Put servers under load, side by side."),
}
"""By command name: its module, its attribute there, and its help."""

EPILOG: Final = (
    "Examples:\n\n"
    "shortlist demo\n\n"
    "shortlist serve Qwen/Qwen3-Reranker-0.6B Qwen/Qwen3-Embedding-0.6B\n\n"
    "grep -rh open notes/ | shortlist rerank -q 'what is most urgent' --top-n 5\n\n"
    "shortlist COMMAND --help shows more of each."
)


class Commands(TyperGroup):
    """The commands, each imported on demand."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in help order."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the name and the help of a command, without importing it."""
        del ctx
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][2]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the imported command and the remaining arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if command is None or name is None else load(name), rest


def load(name: str) -> Any:
    """Import a command and return it as a typer command."""
    module, attribute, _ = COMMANDS[name]
    command = typer.main.get_command(getattr(importlib.import_module(module), attribute))
    command.name = name
    return command


app = typer.Typer(
    name="shortlist",
    cls=Commands,
    help="Turn a long list of candidates into a short one: a reranking and embedding server, and its tools.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    app(arguments, prog_name="shortlist")


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
    del version  # handled by its callback
