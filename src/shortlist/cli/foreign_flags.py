"""Flags of other servers, so that their commands work, or say in one sentence what to write instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import typer
from typer.core import TyperCommand

ALIASES: Final[Mapping[str, str]] = {
    "--timeout-keep-alive": "--keep-alive-timeout-s",  # uvicorn
}

ADVICE: Final[Mapping[str, str]] = {
    "--task": "the task follows from the model's files; where they do not say, write --reranker MODEL or --embedder MODEL",
    "--runner": "the task follows from the model's files; where they do not say, write --reranker MODEL or --embedder MODEL",
    "--served-model-name": "write --alias NAME=MODEL",
    "--model-id": "write the model without a flag: shortlist serve MODEL",
    "--model": "write the model without a flag: shortlist serve MODEL",
    "--hf-overrides": "leave it out: what a model needs is set by Shortlist, also for --engine vllm",
    "--trust-remote-code": "leave it out: Shortlist never runs code that comes with a model",
    "--max-padding-length": "write --max-model-len; batches are not padded",
    "--auto-truncate": "leave it out: long texts are truncated unless a request says otherwise",
}
"""Source: the flags of vLLM, TEI, and the programs of Qwen's articles."""


class ServeCommand(TyperCommand):
    """A command that understands other servers' flags, and underscores in its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Translate the arguments, then parse them."""
        known = {flag for parameter in self.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        rest: list[str] = super().parse_args(ctx, list(_translated(args, known, ctx)))
        return rest


def _translated(args: Sequence[str], known: set[str], context: Any) -> Iterator[str]:
    """Yield the arguments under our names.

    Raises:
        BadParameter: a flag is another server's; the message names ours.
    """
    flags = True
    for arg in args:
        flags = flags and arg != "--"
        name, equals, value = arg.partition("=")
        dashed = name.replace("_", "-")
        if not flags or not name.startswith("--") or name in known:
            yield arg
        elif dashed in known or dashed in ALIASES:
            yield ALIASES.get(dashed, dashed) + equals + value
        elif dashed in ADVICE:
            raise typer.BadParameter(f"{name} is another server's flag: {ADVICE[dashed]}.", ctx=context)
        else:
            yield arg
