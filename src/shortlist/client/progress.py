"""A progress line on standard error for long work; off without a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """Counts what is done, with the time it will still take where the total is known. Use it in a `with`.

    Args:
        title: What is being done.
        total: How much there is; None if unknown.
        is_wanted: Whether to show anything at all. Even then nothing shows unless standard error is a terminal or a notebook.
    """

    def __init__(self, title: str, total: int | None, *, is_wanted: bool = True) -> None:
        self._shown = _shown(title, total) if is_wanted else None
        self.num_done = 0

    def advance(self, num_done: int = 1) -> None:
        """Count more as done."""
        self.num_done += num_done
        if self._shown is not None:
            self._shown.advance(self._shown.task_ids[0], num_done)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the line away for as long as something else is written to the same terminal."""
        if self._shown is None:
            yield
            return
        self._shown.stop()
        yield
        self._shown.start()

    def __enter__(self) -> Self:
        if self._shown is not None:
            self._shown.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._shown is not None:
            self._shown.stop()


def total_of(items: object) -> int | None:
    """Return how many items there are, where that can be known without taking them."""
    return len(items) if isinstance(items, Sized) else None


def _shown(title: str, total: int | None) -> Progress | None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        return None
    counted = (BarColumn(), MofNCompleteColumn()) if total is not None else (TextColumn("{task.completed}"),)
    times = (TimeElapsedColumn(), TimeRemainingColumn()) if total is not None else (TimeElapsedColumn(),)
    columns = (TextColumn("{task.description}", markup=False), *counted, *times)
    progress = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    progress.add_task(title, total=total)
    return progress
