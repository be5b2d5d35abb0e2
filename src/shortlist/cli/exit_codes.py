"""Exit codes of commands: one code per outcome, one line of reason, no traceback for expected errors."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Final

import typer
from rich.console import Console
from rich.text import Text

from shortlist.errors import InputTooLong, InvalidInput, RequestTooLarge, ServiceError
from shortlist.logs import is_json, standard_error
from shortlist.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_DONE: Final = 0
EXIT_PARTLY: Final = 1
"""Partial failure: an engine stopped, a document has no score, a model is not on this machine."""
EXIT_USAGE: Final = 2
"""Invalid usage or input."""
EXIT_CANNOT_START: Final = 3
"""A model cannot be loaded, a server is unreachable or denies access, a file cannot be written."""
WRONG_INPUT: Final = (InvalidInput, InputTooLong, RequestTooLarge)
"""Errors of the input, found by the command or by a server."""


def run_to_exit(start: Callable[[], int]) -> None:
    """Run a command and exit with its code; expected errors are one line, not a traceback.

    A closed standard output (`| head`) is not an error.
    """
    try:
        code = start()
    except ServiceError as error:
        print_error(error.message)
        code = EXIT_USAGE if isinstance(error, WRONG_INPUT) else EXIT_CANNOT_START
    except BrokenPipeError:
        _close_output()
        code = EXIT_DONE
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        _close_output()
        print_error(f"standard output cannot be written: {error.strerror}.")
        code = EXIT_CANNOT_START
    raise typer.Exit(code)


def _close_output() -> None:
    """Redirect standard output to /dev/null, so that flushing it at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_error(message: str) -> None:
    """Write one error line to standard error, as JSON where all lines are."""
    if is_json():
        logger.error("the command failed", extra={"error": message})
        return
    print_message(Text.assemble(("error:", "bold red"), f" {message}"))


def print_message(line: str | Text) -> None:
    """Write one line to standard error, without markup."""
    Console(file=standard_error(), soft_wrap=True, highlight=False, markup=False, emoji=False).print(line)
