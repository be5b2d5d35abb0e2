"""Settings as flags, generated from their definitions in `config`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from shortlist.config import fields

MODEL_SETTINGS: Final = frozenset(
    {"revision", "dtype", "device", "max_model_len", "control_tokens", "random_weights", "max_batch_tokens"}
)
"""Settings that affect a single model; the others affect the server only."""

PANELS: Final = {"model": "Models", "vllm": "vLLM", "scheduler": "Scheduler", "server": "Server", "jobs": "Jobs"}

EPILOG: Final = (
    "Every flag is also an environment variable (--max-batch-tokens is SHORTLIST_MAX_BATCH_TOKENS) and a key of the --config "
    "file (max_batch_tokens). Flags override the environment, the environment overrides the file."
)


def command(
    function: Callable[..., None],
    parameters: Iterable[inspect.Parameter],
    *,
    epilog: str,
    to: typer.Typer,
    name: str,
    cls: type[TyperCommand] = TyperCommand,
) -> None:
    """Add a function as a command with generated parameters."""
    listed = list(parameters)
    function.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in listed}
    to.command(name, epilog=epilog, cls=cls)(function)


def argument(name: str, kind: Any, shown: Any, *, default: object = inspect.Parameter.empty) -> inspect.Parameter:
    """Return one positional parameter."""
    annotation = Annotated[kind, shown]
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def option(name: str, kind: Any, shown: Any, default: object = None) -> inspect.Parameter:
    """Return one flag."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, shown])


def settings(names: frozenset[str] | None = None) -> Iterator[inspect.Parameter]:
    """Yield the named settings, or all of them, as flags; then `--config`."""
    for group, name, field in fields():
        if names is None or name in names:
            yield _setting(name, field, PANELS[group])
    config = typer.Option("--config", help="A TOML file with settings.", rich_help_panel="Server")
    yield option("config", Path | None, config)


def _setting(name: str, field: FieldInfo, panel: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    help_text = field.description or ""
    kind = _flag_type(field.annotation)
    shown: Any
    if name == "models":
        shown = typer.Argument(metavar="[MODEL]...", help=help_text, show_default=False)
    else:
        flag = f"{flag}/--no-{name.replace('_', '-')}" if kind is bool else flag
        shown = typer.Option(flag, help=help_text, rich_help_panel=panel, show_default=_default(field.default))
    return option(name, kind | None, shown)


def _flag_type(annotation: object) -> Any:
    """Return the command-line type of a setting's type."""
    if get_origin(annotation) is tuple:
        return list[str]
    if get_origin(annotation) is Literal or annotation in {bool, int, float, str}:
        return annotation
    kind = next(arg for arg in get_args(annotation) if arg is not type(None))
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return str if kind is SecretStr else kind


def _default(default: object) -> str | Literal[False]:
    return False if default is None or default == () else str(default)
